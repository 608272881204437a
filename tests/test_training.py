"""tfprior.training: baselines by hand, the run folder, and what a run leaves on disk."""

import dataclasses
import importlib
import importlib.metadata
import io
import json
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tfprior.atomic import atomic_path, write_text
from tfprior.data import CodesOrigin, Images, encode_images, save_npz
from tfprior.distributions import (
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    OutputDistribution,
)
from tfprior.measuring import baseline_bits, bits_per_dim, scores_of
from tfprior.measuring.baselines import file_sizes
from tfprior.measuring.likelihood import hold_out_validation, split_of
from tfprior.pictures import save_grid
from tfprior.pictures.sheets import GAP
from tfprior.priors import PixelCNN
from tfprior.registry import build_model, build_prior, build_tokenizer, output_distribution
from tfprior.runs import load_generator, load_prior, load_run, load_tokenizer
from tfprior.runs.model_file import load_model
from tfprior.runs.run_folder import COLUMNS, RunFolder
from tfprior.sampling import sample
from tfprior.tokenizers import VQVAE
from tfprior.training import TrainingOptions, train
from tfprior.training.callbacks import Clock, Schedule, clock_face
from tfprior.training.completion import hidden_part, spread
from tfprior.training.optimizer import AveragedAdamW
from tfprior.training.trainer import backend_version, differences

TOKENIZER = {
    "name": "vq_vae",
    "codebook_size": 6,
    "code_dim": 3,
    "downsampling": 1,
    "filters": 4,
    "num_residual_blocks": 1,
    "output": "categorical",
}
MODEL = {"name": "pixel_cnn", "filters": 4, "num_layers": 1, "first_kernel_size": 3}
QUIET = Console(file=io.StringIO())


def made(count: int = 40, levels: int = 4) -> Images:
    rng = np.random.default_rng(0)

    def part(size: int) -> np.ndarray:
        return rng.integers(levels, size=(size, 4, 5, 1)).astype("uint8")

    return Images("made", part(count), np.arange(count) % 3, part(9), np.arange(9) % 3, levels)


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 3, "batch_size": 8, "xla": False, **changes})


# Baselines ------------------------------------------------------------------------------------------


def test_uniform_and_histogram_are_what_a_hand_computes() -> None:
    train_images = np.array([[0, 1], [0, 2], [0, 1]], "uint8").reshape(3, 1, 2, 1)
    images = np.array([[0, 1], [2, 2]], "uint8").reshape(2, 1, 2, 1)
    # Of four levels: the first position counts 3+1, 1, 1, 1 of 7 and the second 1, 2+1, 1+1, 1 of 7.
    expected = -(math.log2(4 / 7) + math.log2(3 / 7) + math.log2(1 / 7) + math.log2(2 / 7)) / 4
    found = baseline_bits(train_images, images, 4)
    assert list(found)[:2] == ["uniform", "histogram"]
    assert found["uniform"] == 2
    assert found["histogram"] == pytest.approx(expected, abs=1e-12)


def test_files_are_the_smallest_of_their_forms() -> None:
    images = np.zeros((9, 8, 8, 1), "uint8")
    images[:, 2:6, 2:6] = 200
    sizes = file_sizes(images, 256)
    alone = io.BytesIO()
    Image.fromarray(images[0, ..., 0]).save(alone, "PNG", optimize=True)
    assert sizes["PNG"]["each image alone"] == 9 * alone.tell()
    found = baseline_bits(images, images, 256)
    for name, forms in sizes.items():
        smallest = min(forms, key=forms.__getitem__)
        assert found[f"{name} ({smallest})"] == 8 * forms[smallest] / images.size
        assert smallest != "each image alone"  # nine headers cost more than one


def test_files_are_left_out_where_they_do_not_fit() -> None:
    images = np.zeros((2, 2, 2, 1), "int32")
    assert set(baseline_bits(images, images, 300)) == {"uniform", "histogram"}
    many = np.zeros((2, 2, 2, 5), "uint8")
    assert set(baseline_bits(many, many, 4)) == {"uniform", "histogram"}


def test_baselines_refuse_other_grids() -> None:
    with pytest.raises(ValueError, match="equal grids"):
        baseline_bits(np.zeros((2, 2, 2, 1), int), np.zeros((2, 3, 2, 1), int), 4)


# Splits ------------------------------------------------------------------------------------------


def test_the_held_out_part_is_disjoint_and_repeats() -> None:
    images = made(50)
    seen, held_out = hold_out_validation(images, 0.3, 2000, 4, seed=1)
    assert len(held_out.x_train) == 12  # 15 in whole batches of 4
    rows = {image.tobytes() for image in seen.x_train} | {image.tobytes() for image in held_out.x_train}
    assert len(seen.x_train) + 12 == len(rows) == 50
    settings = {"validation_fraction": 0.3, "validation_limit": 2000, "batch_size": 4, "seed": 1}
    values, labels = split_of(images, "validation", settings)
    np.testing.assert_array_equal(values, held_out.x_train)
    np.testing.assert_array_equal(labels, held_out.y_train)
    assert len(hold_out_validation(images, 0.3, 5, 64, seed=1)[1].x_train) == 5


def test_too_few_images_to_hold_some_out() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        hold_out_validation(made(1), 0.1, 2000, 8, seed=0)


# What is hidden, and what is shown ------------------------------------------------------------


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize(
    ("keep", "hidden"),
    [
        ("top", [0, 0, 0, 1, 1]),
        ("bottom", [1, 1, 0, 0, 0]),
        ("0.2", [0, 1, 1, 1, 1]),
        ("0", [1, 1, 1, 1, 1]),
    ],
)
def test_rows_that_are_hidden(keep: str, hidden: list[int]) -> None:
    np.testing.assert_array_equal(hidden_part(keep, (5, 2, 1)), np.array([hidden, hidden], bool).T)
    assert hidden_part("left", (2, 5, 1)).sum() == 4


@pytest.mark.parametrize("keep", ["1", "-0.5", "nan", "inf", "middle"])
def test_parts_that_cannot_be_kept(keep: str) -> None:
    with pytest.raises(ValueError, match=r"expected top"):
        hidden_part(keep, (5, 2, 1))


def test_classes_take_turns() -> None:
    labels = np.array([1, 1, 0, 2, 0, 1])
    np.testing.assert_array_equal(labels[spread(labels, 6)], [0, 1, 2, 0, 1, 1])
    np.testing.assert_array_equal(spread(None, 3), [0, 1, 2])


# Files ------------------------------------------------------------------------------------------


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "text"
    write_text(file, "old")

    def fail() -> None:
        with atomic_path(file) as temporary:
            temporary.write_text("half")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
    write_text(file, "new")
    assert file.read_text() == "new"


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_run(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_run(tmp_path)
    config = tmp_path / "config.json"
    config.write_text('{"data":')
    with pytest.raises(ValueError, match="is damaged"):
        load_run(tmp_path)
    config.write_text('{"data": {}, "model": {}, "options": 3}')
    with pytest.raises(ValueError, match="lacks options, versions"):
        load_run(tmp_path)
    config.write_text("[]")
    with pytest.raises(ValueError, match="lacks data"):
        load_run(tmp_path)
    config.write_text(json.dumps({"data": {}, "model": {}, "options": {}, "versions": {}}))
    with pytest.raises(FileNotFoundError, match="first epoch has not ended"):
        load_run(tmp_path).load()
    (tmp_path / "metrics.csv").write_text("epoch,train\n1,nonsense\n")
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged"):
        load_run(tmp_path).history()


def test_opening_what_is_no_prior(tmp_path: Path) -> None:
    file = tmp_path / "prior.keras"
    with pytest.raises(FileNotFoundError, match="is no file"):
        load_prior(file)
    build_prior(made(), MODEL).save(file)
    assert isinstance(load_prior(file), PixelCNN)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"no readable \.keras file"):
        load_prior(file)
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(file)
    with pytest.raises(ValueError, match="holds a Sequential"):
        load_prior(file)
    file.rename(tmp_path / "prior.h5")
    with pytest.raises(ValueError, match=r"prior\.h5 does not end in \.keras"):
        load_prior(tmp_path / "prior.h5")


def test_a_file_that_brings_code_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "prior.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: x + 1)]).save(file)
    with pytest.raises(ValueError, match=r"no readable \.keras file"):
        load_prior(file)


def test_metrics_come_back(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, {})
    rows = [dict(zip(COLUMNS, (1, 1e-3, 2.5, 2.25, 10.5), strict=True))]
    run.write_history(rows)
    assert run.history() == rows
    more = [{**rows[0], "perplexity": 3.5, "usage": 1.0}]
    run.write_history(more)
    assert run.history() == more


# Training ------------------------------------------------------------------------------------------


def test_averages_soon_forget_the_untrained_weights() -> None:
    optimizer = AveragedAdamW(0.0, use_ema=True, ema_momentum=0.98)
    weight = keras.Variable(np.float32(100))
    optimizer.build([weight])
    average, expected = optimizer._model_variables_moving_average[0], 0.0
    for step in range(300):
        weight.assign(np.float32(100 if step == 0 else step % 7))
        optimizer.apply([np.zeros((), "float32")])
        momentum = 0.0 if step == 0 else min(0.98, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * float(weight)
        if step == 50:
            assert float(average) < 4  # at 0.98 throughout it would be 38
    assert float(average) == pytest.approx(expected, rel=1e-5)
    assert optimizer.get_config()["ema_momentum"] == 0.98


@pytest.mark.parametrize("ema", [None, 0.9])
def test_a_run_from_beginning_to_end(tmp_path: Path, ema: float | None) -> None:
    images, out = made(), tmp_path / "run"
    run = train(images, MODEL, out, options(ema=ema), console=QUIET)
    rows = run.history()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    found = {path.name for path in out.iterdir()} - {"tensorboard"}
    assert found == {
        *("config.json", "metrics.csv", "best.keras", "last.keras"),
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


@pytest.mark.parametrize(("model", "kind", "ema"), [(MODEL, PixelCNN, None), (TOKENIZER, VQVAE, 0.9)])
def test_an_interrupted_run_goes_on_without_repeating_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], kind: Any, ema: float | None
) -> None:
    images, out, saved = made(), tmp_path / "run", []
    settings = options(ema=ema)
    save_weights = kind.save_weights

    def save_twice(self: Any, path: Path) -> None:
        if len(saved) == 2:
            raise OSError("disk is gone")
        saved.append(int(self.optimizer.iterations))
        save_weights(self, path)

    monkeypatch.setattr(kind, "save_weights", save_twice)
    with pytest.raises(OSError, match="disk is gone"):
        train(images, model, out, settings, console=QUIET)
    assert len(load_run(out).history()) == 3  # the third epoch was measured and never completed
    assert load_run(out).result is None
    monkeypatch.undo()
    before = load_run(out).history()
    (out / ".writing-1-best.keras").write_bytes(b"half")

    with pytest.raises(ValueError, match=r"another batch_size \(8, now 4\)"):
        train(images, model, out, options(ema=ema, batch_size=4), console=QUIET)
    log = io.StringIO()
    run = train(images, model, out, settings, console=Console(file=log, width=200))
    assert "going on after epoch 2" in log.getvalue()
    assert "epoch 3/3" in log.getvalue()
    assert "epoch 2/3" not in log.getvalue()
    assert [row["epoch"] for row in run.history()] == [1, 2, 3]
    assert run.history()[:2] == before[:2]
    assert run.history()[2]["seconds"] > before[1]["seconds"]
    whole = train(images, model, tmp_path / "whole", settings, console=QUIET)
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.path.iterdir()}
    assert list(run.history()[2]) == list(whole.history()[2])
    # Another order of the images after the interruption, from the same weights.
    assert run.history()[2]["validation"] == pytest.approx(whole.history()[2]["validation"], rel=0.1)
    assert not [path for path in out.iterdir() if path.name.startswith(".") or path.name.startswith("resume")]


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
        *("config.json", "metrics.csv", "best.keras", "last.keras", "model_card.md"),
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


def coded(images: Images, tokenizer: Path, **changes: Any) -> Images:
    model = load_tokenizer(tokenizer)
    origin = CodesOrigin(str(tokenizer), model.weights_digest(), {"name_or_path": images.name})
    return dataclasses.replace(encode_images(model, images, origin, progress=False), **changes)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "run"
    return train(made(), TOKENIZER, out, options(), console=QUIET).path


def test_a_prior_of_codes_shows_images(tmp_path: Path, tokenizer: Path) -> None:
    codes, log = coded(made(), tokenizer), io.StringIO()
    run = train(codes, MODEL, tmp_path / "prior", options(epochs=1), console=Console(file=log, width=300))
    assert run.of_codes
    assert run.codes_origin == codes.origin
    assert load_run(run.path) == run
    assert set(run.result["baselines"]) == {"uniform", "histogram"}
    generator = load_generator(run.path)
    save_grid(generator.sample(64, seed=0), 4, tmp_path / "expected.png")
    np.testing.assert_array_equal(opened(run.file("samples.png")), opened(tmp_path / "expected.png"))
    assert "shades" not in log.getvalue()
    np.testing.assert_array_equal(
        load_generator(run.path / "best.keras", tokenizer).sample(4, seed=1), generator.sample(4, seed=1)
    )


@pytest.mark.parametrize("reason", ["unknown", "gone", "another"])
def test_a_prior_of_codes_without_its_tokenizer(tmp_path: Path, tokenizer: Path, reason: str) -> None:
    codes = coded(made(), tokenizer)
    origin = {
        "unknown": None,
        "gone": dataclasses.replace(codes.origin, tokenizer=str(tmp_path / "gone")),
        "another": dataclasses.replace(codes.origin, digest="0" * 64),
    }[reason]
    words = {
        "unknown": "does not tell the tokenizer of its codes; name its run: --tokenizer",
        "gone": "is no longer there; tell where its run is: --tokenizer",
        "another": "its weights are not those that gave the codes",
    }[reason]
    codes, log = dataclasses.replace(codes, origin=origin), io.StringIO()
    run = train(codes, MODEL, tmp_path / "prior", options(epochs=1), console=Console(file=log, width=900))
    assert "samples.png shows the codes as shades of grey: " in log.getvalue()
    assert words in log.getvalue()
    save_grid(sample(load_prior(run.path), 64, seed=0), 6, tmp_path / "expected.png")
    np.testing.assert_array_equal(opened(run.file("samples.png")), opened(tmp_path / "expected.png"))
    with pytest.raises((OSError, ValueError), match=words):
        load_generator(run.path)
    if reason != "another":
        assert load_generator(run.path, tokenizer).sample(2, seed=0).shape == (2, 4, 5, 1)


def test_kinds_that_are_not_expected(tmp_path: Path, tokenizer: Path) -> None:
    run = train(made(), MODEL, tmp_path / "run", options(epochs=1), console=QUIET)
    with pytest.raises(ValueError, match=r"is a tokenizer; train a prior on its codes: `tfprior encode"):
        load_prior(tokenizer)
    with pytest.raises(ValueError, match="is a prior; expected a tokenizer"):
        load_tokenizer(run.path)
    with pytest.raises(ValueError, match="is a prior of images and needs no tokenizer"):
        load_generator(run.path, tokenizer)


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        (MODEL, {"flip": True}, "mirrored codes are not those of mirrored images"),
        ({**MODEL, "output": "logistic"}, {}, "have no order; expected a categorical output"),
        (TOKENIZER, {}, "holds codes; expected images"),
    ],
)
def test_what_codes_are_not_for(
    tmp_path: Path, tokenizer: Path, model: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        train(coded(made(), tokenizer), model, tmp_path / "run", options(**settings), console=QUIET)
    assert not any(tmp_path.iterdir())


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
    pytest.importorskip("tensorboard")
    run = train(made(), TOKENIZER, tmp_path / "run", options(epochs=1), console=QUIET)
    assert list((run.path / "tensorboard" / "pictures").glob("events*"))


def test_a_damaged_state_to_resume_from(tmp_path: Path) -> None:
    images, out = made(), tmp_path / "run"
    train(images, MODEL, out, options(epochs=1), console=QUIET)
    run = load_run(out)
    RunFolder(out, {name: run.config[name] for name in run.config if name != "result"}).write_config()
    (out / "resume.weights.h5").write_bytes(b"not HDF5")
    with pytest.raises(ValueError, match=r"resume\.weights\.h5 is damaged.*--overwrite"):
        train(images, MODEL, out, options(epochs=1), console=QUIET)


def test_the_number_reported_is_of_the_weights_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = made(), tmp_path / "run"

    def stop(*arguments: Any) -> None:
        raise OSError("power cut")

    monkeypatch.setattr("tfprior.training.trainer.illustrate", stop)
    with pytest.raises(OSError, match="power cut"):
        train(images, MODEL, out, options(), console=QUIET)
    monkeypatch.undo()
    # As a kill between best.keras and the file to resume from leaves it: weights that no row tells of.
    other = build_prior(images, MODEL)
    other.save(out / "best.keras")
    run = train(images, MODEL, out, options(), console=QUIET)
    assert run.result is not None
    values, _ = split_of(images, "validation", run.config["options"])
    assert run.result["best_bits_per_dim"] == pytest.approx(bits_per_dim(other, values), abs=1e-6)
    rows = [row["validation"] for row in run.history()]
    assert min(abs(run.result["best_bits_per_dim"] - validation) for validation in rows) > 1e-3


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


def test_the_snippet_of_a_tokenizer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, file = made(), tmp_path / "made.npz"
    save_npz(images, file)
    source = {"name_or_path": str(file), "image_size": None, "num_levels": 4}
    run = train(images, TOKENIZER, tmp_path / "run", options(epochs=1), source, console=QUIET)
    card = (run.path / "model_card.md").read_text()
    assert "codes are\nin use" in card
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)
    assert found["codes"].shape == (9, 4, 5, 1)
    assert found["reconstructed"].shape == (9, 4, 5, 1)


@pytest.mark.parametrize("of_codes", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_snippet_of_a_model_card_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Path, conditional: bool, of_codes: bool
) -> None:
    model, images = {**MODEL, "conditional": conditional}, made()
    if of_codes:
        images = coded(images, tokenizer)
    run = train(images, model, tmp_path / "run", options(epochs=1), console=QUIET)
    code = (run.path / "model_card.md").read_text().split("```python\n")[1].split("```")[0]
    assert ("numpy" in code) is conditional
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["images"].shape == (16, 4, 5, 1)


def test_the_clock_ends_a_run(tmp_path: Path) -> None:
    run = train(made(), MODEL, tmp_path, options(epochs=None, minutes=1e-4), console=QUIET)
    assert run.result is not None
    assert len(run.history()) == 1


def test_divergence_is_told(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError, match=r"diverged in epoch 1 .*--learning-rate"):
        train(made(), MODEL, tmp_path, options(learning_rate=1e30, warmup_steps=0), console=QUIET)
    assert not (tmp_path / "best.keras").exists()


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
    "change", [{"epochs": 0}, {"minutes": -1.0}, {"learning_rate": math.nan}, {"batch_size": 0}, {"ema": 1.0}]
)
def test_options_out_of_range(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        TrainingOptions(**change)


def test_the_learning_rate_rises_and_falls() -> None:
    prior = build_prior(made(), MODEL)
    prior.compile()
    schedule = Schedule(1.0, 2, 4, Clock(0.0, None))
    schedule.set_model(prior)
    schedule.on_train_begin()
    rates = []
    for batch in range(4):
        schedule.on_train_batch_begin(batch)
        rates.append(float(prior.optimizer.learning_rate))
    expected = [warmth * (1 + math.cos(math.pi * step / 4)) / 2 for step, warmth in enumerate((0.5, 1, 1, 1))]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_the_learning_rate_follows_the_clock() -> None:
    prior = build_prior(made(), MODEL)
    prior.compile()
    schedule = Schedule(1.0, 0, 10**9, Clock(1e9, 2e9))
    schedule.set_model(prior)
    schedule.on_train_begin()
    schedule.on_train_batch_begin(0)
    assert float(prior.optimizer.learning_rate) == pytest.approx(0.5, abs=1e-4)


def test_differences_are_named() -> None:
    before = {"data": {"a": 1}, "model": {"filters": 4}, "options": {}}
    now = {"data": {"a": 1}, "model": {"filters": 8}, "options": {"seed": 1}}
    assert differences(before, now) == ["filters (4, now 8)", "seed (None, now 1)"]


def test_a_clock_face() -> None:
    assert [clock_face(seconds) for seconds in (0.2, 65, 3723)] == ["0:00", "1:05", "1:02:03"]
