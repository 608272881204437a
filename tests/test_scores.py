"""A model names its scores: one that is no likelihood trains into a run folder like any other."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops
from rich.console import Console
from small_runs import MODEL, QUIET, made, options
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.cli.tables import run_table, score_table
from tfprior.data import split_of
from tfprior.distributions import Categorical
from tfprior.grid_model import GridModel
from tfprior.measuring import scores_of
from tfprior.runs import load_prior, load_run
from tfprior.score import BITS_PER_DIM, Score
from tfprior.training import train


@keras.saving.register_keras_serializable("tests")
class MeanImage(GridModel):
    """Learns the mean image by its mean absolute error; never worth more than a test."""

    scores: ClassVar[tuple[Score, ...]] = (Score("error", "levels"),)
    loss_unit = "levels"

    def __init__(self, grid_shape: tuple[int, int, int], num_levels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid_shape = tuple(grid_shape)
        self.distribution = Categorical(num_levels)
        self.mean = self.add_weight(shape=self.grid_shape, name="mean")
        self._error = keras.metrics.Mean(name="error")
        self.built = True

    def check_inputs(self, values: Any, condition: Any = None) -> None:
        if tuple(values.shape[1:]) != self.grid_shape:
            raise ValueError(f"Got {values.shape}.")

    def call(self, inputs: Any) -> Any:
        return ops.zeros_like(ops.cast(inputs, "float32")) + self.mean

    def compute_loss(self, x: Any = None, *_: Any, sample_weight: Any = None, **__: Any) -> Any:
        error = ops.mean(ops.abs(ops.cast(x, "float32") - self.mean), axis=(1, 2, 3))
        self._error.update_state(error, sample_weight)
        return self.mean_of(error, sample_weight)

    def get_config(self) -> dict[str, Any]:
        num_levels = self.distribution.num_levels
        return {**super().get_config(), "grid_shape": self.grid_shape, "num_levels": num_levels}


def test_a_model_with_a_score_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, log = made(), io.StringIO()

    def build(*_: Any) -> MeanImage:
        return MeanImage((4, 5, 1), 4)

    monkeypatch.setattr("tfprior.training.trainer.build_model", build)
    console = Console(file=log, width=200)
    settings = options(epochs=2, learning_rate=0.1, warmup_steps=0)
    run = train(images, {"name": "mean"}, tmp_path / "run", settings, console=console)
    assert run == load_run(tmp_path / "run")
    assert (run.config["kind"], run.score) == ("model", Score("error", "levels", "min"))
    model = run.load()
    assert isinstance(model, MeanImage)
    values, _ = split_of(images, "validation", run.config["options"])
    error = float(np.mean(np.abs(values - np.asarray(model.mean))))
    assert list(scores_of(model, values)) == ["error"]
    assert run.best_score == run.result["best_error"] == pytest.approx(error, abs=1e-6)
    rows = run.history()
    assert list(rows[0]) == ["epoch", "learning_rate", "train", "validation", "seconds"]
    assert rows[-1]["validation"] == pytest.approx(error, abs=1e-6)
    assert rows[1]["train"] < rows[0]["train"]
    assert run.result["baselines"] == {}
    assert f"validation {error:.4f} levels * · {rows[1]['train']:.4f} levels · " in log.getvalue()
    assert run.pictures == ("curve.png",)
    assert run.file("curve.png").exists()
    card = run.file("model_card.md").read_text()
    assert "| levels, held-out part of the training images | |" in card
    assert f"| this model | {error:.4f} |" in card
    assert "A model of 4 × 5 × 1 images of 4 levels" in card
    with pytest.raises(ValueError, match=rf"finished run \(2 epochs, {error:.4f} levels\)"):
        train(images, {"name": "mean"}, tmp_path / "run", settings, console=QUIET)


@keras.saving.register_keras_serializable("tests")
class Worst(MeanImage):
    """The same, as if being far off were good."""

    scores: ClassVar[tuple[Score, ...]] = (Score("error", "levels", "max"),)


@keras.saving.register_keras_serializable("tests")
class Counting(MeanImage):
    """The same, with more to tell."""

    scores: ClassVar[tuple[Score, ...]] = (
        Score("error", "levels", words="far off"),
        Score("wrong", "share of pixels", words="share of wrong pixels"),
        Score("again", "levels"),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._wrong, self._again = keras.metrics.Mean(name="wrong"), keras.metrics.Mean(name="again")

    def compute_loss(self, x: Any = None, *_: Any, **options: Any) -> Any:
        self._wrong.update_state(ops.cast(ops.cast(x, "float32") != self.mean, "float32"))
        loss = super().compute_loss(x, **options)
        self._again.update_state(loss)
        return loss


def test_a_score_may_be_the_better_the_higher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr("tfprior.training.trainer.build_model", lambda *_: Worst((4, 5, 1), 4))
    settings = options(epochs=3, learning_rate=0.1, warmup_steps=0)
    console = Console(file=log, width=200)
    run = train(made(), {"name": "worst"}, tmp_path / "run", settings, console=console)
    found = [row["validation"] for row in run.history()]
    assert found[0] > found[1] > found[2]  # it learns to be close: the first epoch was the best one
    assert run.result is not None
    assert run.result["best_epoch"] == 1
    assert run.best_score == pytest.approx(found[0], abs=1e-6)
    assert [line.count(" *") for line in log.getvalue().splitlines() if "epoch" in line] == [1, 0, 0]
    values, _ = split_of(made(), "validation", run.config["options"])
    means = [np.asarray(run.load(name).mean) for name in ("best.keras", "last.keras")]
    errors = [float(np.mean(np.abs(values - mean))) for mean in means]
    assert errors == pytest.approx([found[0], found[2]], abs=1e-6)
    assert run.config["score"] == {"name": "error", "unit": "levels", "better": "max"}
    assert run.score == Score("error", "levels", "max")
    printed = io.StringIO()
    table = score_table("", {"a": 1, "b": 3, "c": 2}, run.score)
    Console(file=printed, width=200).print(run_table(run), table)
    assert f"best validation levels │ {found[0]:.4f}" in printed.getvalue()
    assert re.findall(r"│ ([abc]) ", printed.getvalue()) == ["b", "c", "a"]


def test_scores_that_are_no_likelihood_are_evaluated_alone(tmp_path: Path) -> None:
    images, model = made(), Counting((4, 5, 1), 4)
    model.mean.assign(np.full((4, 5, 1), 1.5))
    model.save(tmp_path / "model.keras")
    data = {"x_train": images.x_train, "x_test": images.x_test}
    np.savez(tmp_path / "made.npz", **data)
    words = ("evaluate", tmp_path / "model.keras", "--data", tmp_path / "made.npz", "--levels", 4)
    result = CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    error = np.mean(np.abs(images.x_test - 1.5))
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in result.stdout.splitlines()]
    assert [row for row in rows if len(row) == 2] == [
        ["this model, far off", f"{error:.4f}"],
        ["share of wrong pixels", "1"],
        ["again", f"{error:.4g}"],
    ]
    assert "levels" in result.stdout


def test_a_prior_says_bits(tmp_path: Path) -> None:
    run = train(made(), MODEL, tmp_path / "run", options(epochs=1), console=QUIET)
    assert run.config["score"] == {"name": "bits_per_dim", "unit": "bits/dim", "better": "min"}
    assert run.config["kind"] == "prior"
    assert run.best_score == run.result["best_bits_per_dim"]
    assert f"| this prior | {run.best_score:.4f} |" in run.file("model_card.md").read_text()
    assert load_prior(run.path).scores == (run.score,) == (BITS_PER_DIM,)


def test_which_way_is_better() -> None:
    less, more = Score("error", "levels"), Score("usage", "share of codes", "max")
    assert (less.best_of([3, 1, 2]), more.best_of([3, 1, 2])) == (1, 3)
    assert (less.best_of([]), more.best_of([])) == (math.inf, -math.inf)
    assert [less.improves(value, 2) for value in (1, 2, 3, math.nan)] == [True, False, False, False]
    assert [more.improves(value, 2) for value in (1, 2, 3, math.nan)] == [False, False, True, False]
    assert [Score.from_config(score.get_config()) for score in (less, more)] == [less, more]
    assert Score.from_config({"name": "error", "unit": "levels"}) == less
    assert (BITS_PER_DIM.per_code().unit, more.per_code()) == ("bits/code", more)


@pytest.mark.slow
def test_a_run_from_before_scores_had_a_direction_goes_on(tmp_path: Path) -> None:
    run = train(made(), MODEL, tmp_path / "run", options(epochs=1), console=QUIET)
    told = {**run.config, "score": {"name": "bits_per_dim", "unit": "bits/dim"}}
    run.file("config.json").write_text(json.dumps(told))
    assert load_run(run.path).score == BITS_PER_DIM
    assert len(train(made(), MODEL, run.path, options(epochs=2), console=QUIET).history()) == 2
