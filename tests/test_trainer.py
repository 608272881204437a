"""Runs from beginning to end, and what they leave on disk."""

import importlib
import importlib.metadata
import math
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_runs import MODEL, QUIET, TOKENIZER, made, opened, options

from tfprior.data import Images, split_of, spread
from tfprior.distributions import (
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    OutputDistribution,
)
from tfprior.measuring import bits_per_dim, scores_of
from tfprior.pictures.sheets import GAP, save_grid
from tfprior.registry import build_model, build_tokenizer, output_distribution
from tfprior.runs import load_run, load_tokenizer
from tfprior.runs.model_file import load_model
from tfprior.runs.run_folder import COLUMNS
from tfprior.training import TrainingOptions, train
from tfprior.training.description import backend_version


@pytest.mark.slow("None")
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_run_from_beginning_to_end(tmp_path: Path, ema: float | None) -> None:
    images, out = made(), tmp_path / "run"
    run = train(images, MODEL, out, options(ema=ema), console=QUIET)
    rows = run.history()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    found = {path.name for path in out.iterdir()} - {"tensorboard"}
    assert found == {
        *("config.json", "metrics.csv", "best.keras", "last.keras", "checkpoint.json", "resume"),
        *("samples.png", "curve.png", "model_card.md"),
    }
    assert load_run(out) == run
    assert run.result is not None
    best = min(row["validation"] for row in rows)
    assert run.result["best_bits_per_dim"] == pytest.approx(best, abs=1e-6)
    # The best file holds the very weights, averaged or not, that were measured.
    values, labels = split_of(images, "validation", run.config["options"])
    assert bits_per_dim(run.load(), values) == pytest.approx(run.result["best_bits_per_dim"], abs=1e-5)
    assert bits_per_dim(run.load("last.keras"), values) == pytest.approx(rows[-1]["validation"], abs=1e-5)
    exact = float(np.mean(run.load().bits_per_dim(values)))
    assert bits_per_dim(run.load(), values, labels, batch_size=3) == pytest.approx(exact, abs=1e-5)
    with pytest.raises(ValueError, match=r"finished run \(3 epochs.*--overwrite"):
        train(images, MODEL, out, options(ema=ema), console=QUIET)
    again = train(images, MODEL, out, options(epochs=1), overwrite=True, console=QUIET)
    assert len(again.history()) == 1


@pytest.mark.slow("0.9")
@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_tokenizer_from_beginning_to_end(tmp_path: Path, ema: float | None) -> None:
    images, out = made(), tmp_path / "run"
    run = train(images, TOKENIZER, out, options(ema=ema, learning_rate=0.01), console=QUIET)
    rows = run.history()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    further = {"reconstruction_bits_per_dim", "perplexity", "usage", "dead_codes"}
    assert set(rows[0]) == {*COLUMNS, *further}
    found = {path.name for path in out.iterdir()} - {"tensorboard"}
    assert found == {
        *("config.json", "metrics.csv", "best.keras", "last.keras", "checkpoint.json", "resume"),
        "model_card.md",
        *("reconstructions.png", "codebook_usage.png", "curve.png"),
    }
    # The codebook follows its own average and no optimizer; the files hold it as it was measured, beside the
    # averaged weights of the network.
    values, _ = split_of(images, "validation", run.config["options"])
    last = scores_of(load_model(out / "last.keras"), values)
    assert last["bits_per_dim"] == pytest.approx(rows[-1]["validation"], abs=1e-5)
    for name in further:
        assert last[name] == pytest.approx(rows[-1][name], abs=1e-5)
    best = min(rows, key=lambda row: row["validation"])
    assert run.result is not None
    assert run.result["best_bits_per_dim"] == pytest.approx(best["validation"], abs=1e-5)
    assert run.result["perplexity"] == pytest.approx(best["perplexity"], abs=1e-4)
    tokenizer = load_tokenizer(out)
    assert not tokenizer.needs_initialization
    assert tokenizer.weights_digest() == load_tokenizer(out / "best.keras").weights_digest()
    assert tokenizer.weights_digest() != build_tokenizer(images, TOKENIZER).weights_digest()
    pixels = opened(out / "reconstructions.png")
    scale = round(64 / 5)
    shown = spread(None, len(values))
    assert pixels.shape[1] == min(8, len(shown)) * (5 * scale + GAP) + GAP
    train(images, TOKENIZER, out, options(epochs=1), overwrite=True, console=QUIET)


@pytest.mark.slow
def test_the_averaged_tokenizer_is_another_one(tmp_path: Path) -> None:
    images = made()
    plain, averaged = (
        train(images, TOKENIZER, tmp_path / str(ema), options(epochs=1, ema=ema), console=QUIET)
        for ema in (None, 0.9)
    )
    ours, theirs = (load_tokenizer(run.path) for run in (plain, averaged))
    # The codebook is not averaged, the encoder is.
    np.testing.assert_allclose(ours.quantizer.codebook, theirs.quantizer.codebook, atol=1e-5)
    kernels = (np.asarray(each.encoder[0].kernel) for each in (ours, theirs))
    assert not np.allclose(*kernels, atol=1e-5)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("categorical", Categorical(4)),
        ("logistic", DiscretizedLogistic(4)),
        ("logistic_mixture", DiscretizedLogisticMixture(10, 4)),
        ("gaussian", Gaussian(4, 2 / 3)),
    ],
)
def test_outputs_by_name(output: str, expected: OutputDistribution) -> None:
    built = build_tokenizer(made(), {**TOKENIZER, "output": output, "commitment_weight": 0.5})
    assert repr(built.distribution) == repr(expected)
    assert built.quantizer.commitment_weight == 0.5
    assert repr(output_distribution(256, "gaussian")) == repr(Gaussian(256, 0.1))


def test_pictures_on_tensorboard(tmp_path: Path) -> None:
    run = train(made(), TOKENIZER, tmp_path / "run", options(epochs=1), console=QUIET)
    assert list((run.path / "tensorboard" / "pictures").glob("events*"))


@pytest.mark.slow
def test_pictures_while_a_run_trains(tmp_path: Path) -> None:
    images, often = made(), options(epochs=2, pictures_every=2, ema=0.9)
    run = train(images, {**MODEL, "conditional": True}, tmp_path / "run", often, console=QUIET)
    drawn, kinds = run.path / "pictures", ("completions", "samples")
    assert {path.name for path in drawn.iterdir()} == {f"{kind}-epoch-0002.png" for kind in kinds}
    labels = np.arange(3).repeat(8)
    save_grid(run.load("last.keras").sample(24, labels, seed=0), 4, tmp_path / "expected.png")
    np.testing.assert_array_equal(opened(drawn / "samples-epoch-0002.png"), opened(tmp_path / "expected.png"))
    often = options(epochs=1, pictures_every=1)
    train(images, TOKENIZER, tmp_path / "run", often, overwrite=True, console=QUIET)
    assert [path.name for path in drawn.iterdir()] == ["reconstructions-epoch-0001.png"]
    with pytest.raises(ValueError, match="pictures_every=0; expected a positive number"):
        options(pictures_every=0)


def test_the_number_reported_is_of_the_weights_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = made(), tmp_path / "run"
    replace, seen = os.replace, []

    def kill(source: Path, target: Path) -> None:
        replace(source, target)
        if Path(target).name == "best.keras":
            seen.append(target)
            if len(seen) == 2:
                raise KeyboardInterrupt  # as a kill between best.keras and the file to resume from

    monkeypatch.setattr("tfprior.atomic.os.replace", kill)
    with pytest.raises(KeyboardInterrupt):
        train(images, MODEL, out, options(), console=QUIET)
    monkeypatch.undo()
    kept = load_run(out).load()
    # What is trained from here on is worse, so that these weights, of which no row tells, stay the best.
    rate = "tfprior.training.schedule.Schedule.on_train_batch_begin"
    monkeypatch.setattr(rate, lambda self, *_, **__: setattr(self.model.optimizer, "learning_rate", 1.0))
    run = train(images, MODEL, out, options(), console=QUIET)
    assert run.result is not None
    values, _ = split_of(images, "validation", run.config["options"])
    assert run.load().weights_digest() == kept.weights_digest()
    assert run.result["best_bits_per_dim"] == pytest.approx(bits_per_dim(kept, values), abs=1e-6)
    rows = [row["validation"] for row in run.history()]
    assert min(abs(run.result["best_bits_per_dim"] - validation) for validation in rows) > 1e-5


def test_a_start_that_was_killed_at_its_first_file_starts_again(tmp_path: Path) -> None:
    (tmp_path / ".writing-1-config.json").write_text("{")
    train(made(), MODEL, tmp_path, options(epochs=1), console=QUIET)
    assert not list(tmp_path.glob(".writing-*"))


def test_what_cannot_be_trained_deletes_no_run(tmp_path: Path) -> None:
    for name in ("config.json", "best.keras"):
        (tmp_path / name).write_text("old")
    for out, overwrite in ((tmp_path, True), (tmp_path / "new", False)):
        with pytest.raises(ValueError, match="at least 2"):
            train(made(1), MODEL, out, options(), overwrite=overwrite, console=QUIET)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "config.json": "old",
        "best.keras": "old",
    }


def test_the_version_of_the_backend_needs_no_package_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)  # as under tensorflow-cpu

    monkeypatch.setattr(importlib.metadata, "version", unknown)
    backend = importlib.import_module(keras.backend.backend())
    assert backend_version() == backend.__version__


def test_the_clock_ends_a_run(tmp_path: Path) -> None:
    run = train(made(), MODEL, tmp_path, options(epochs=None, minutes=1e-4), console=QUIET)
    assert run.result is not None
    assert len(run.history()) == 1


@pytest.mark.slow
def test_more_minutes_go_on(tmp_path: Path) -> None:
    first = train(made(), MODEL, tmp_path, options(epochs=None, minutes=1e-4), console=QUIET)
    assert first.result is not None
    with pytest.raises(ValueError, match=r"finished run \(1 epochs"):
        train(made(), MODEL, tmp_path, options(epochs=None, minutes=1e-4), console=QUIET)
    minutes = first.history()[-1]["seconds"] / 60 + 1e-4
    run = train(made(), MODEL, tmp_path, options(epochs=None, minutes=minutes), console=QUIET)
    assert [row["epoch"] for row in run.history()] == [1, 2]
    assert run.history()[0] == first.history()[0]


def test_divergence_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match=r"diverged in epoch 1 .*--learning-rate"):
        train(made(), MODEL, tmp_path, options(learning_rate=1e30, warmup_steps=0), console=QUIET)
    assert not (tmp_path / "best.keras").exists()


def test_overwriting_takes_no_strangers_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    with pytest.raises(FileExistsError, match="holds files and no run; choose another --out"):
        train(made(), MODEL, tmp_path, options(), overwrite=True, console=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="holds files and no run"):
            train(made(), MODEL, tmp_path, options(), overwrite=overwrite, console=QUIET)
    with pytest.raises(FileExistsError, match="is a file"):
        train(made(), MODEL, tmp_path / "thesis.txt", options(), console=QUIET)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "pixel_rnn"}, "Unknown model 'pixel_rnn'; expected one of gated_pixel_cnn, pixel_cnn"),
        ({**TOKENIZER, "num_layers": 3}, "vq_vae has no option num_layers"),
        ({**TOKENIZER, "conditional": True}, "vq_vae has no option conditional; expected some of"),
        ({**TOKENIZER, "num_components": 3}, "num_components=3; a categorical output has none: leave it out"),
        ({**TOKENIZER, "downsampling": 2}, "height and width divisible"),
        ({**MODEL, "depth": 3}, "no option depth"),
        ({**MODEL, "conditional": True}, "has no labels"),
    ],
)
def test_models_that_cannot_be_built(model: dict[str, Any], words: str) -> None:
    images = made()
    unlabelled = Images("made", images.x_train, None, images.x_test, None, 4)
    with pytest.raises(ValueError, match=words):
        build_model(unlabelled, model)


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 0},
        {"minutes": -1.0},
        {"learning_rate": math.nan},
        {"batch_size": 0},
        {"ema": 1.0},
        {"precision": "float8"},
        {"xla": True},
    ],
)
def test_options_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingOptions(**change)
