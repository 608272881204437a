"""A run on disk: what it holds, and opening it again."""

import errno
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_runs import MODEL, QUIET, TOKENIZER, coded, made, options

from tfprior.atomic import atomic_path, write_text
from tfprior.priors import PixelCNN
from tfprior.registry import build_prior
from tfprior.runs import load_generator, load_prior, load_run, load_tokenizer
from tfprior.runs.run_folder import COLUMNS, RunFolder
from tfprior.score import BITS_PER_DIM
from tfprior.training import train


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "run"
    return train(made(), TOKENIZER, out, options(), console=QUIET).path


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


def test_files_are_written_on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def as_on_windows(path: Any, flags: int, *mode: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied")
        flags_of[how_opened(path, flags, *mode)] = flags
        return next(reversed(flags_of))

    def flush(descriptor: int) -> None:
        if not flags_of[descriptor] & os.O_RDWR:
            raise OSError(errno.EBADF, "Bad file descriptor")
        flushed.append(descriptor)

    how_opened, flags_of, flushed = os.open, {}, []
    monkeypatch.setattr(os, "open", as_on_windows)
    monkeypatch.setattr(os, "fsync", flush)
    with monkeypatch.context() as windows:
        windows.setattr("tfprior.atomic.sys.platform", "win32")
        write_text(tmp_path / "text", "new")
    assert (tmp_path / "text").read_text() == "new"
    assert len(flushed) == 1
    with pytest.raises(OSError, match="Bad file descriptor"):
        write_text(tmp_path / "text", "newer")


CONFIG = {
    "schema_version": 1,
    "kind": "prior",
    "data": {"name_or_path": "digits", "grid_shape": [4, 5, 1], "levels": 4, "images": 40},
    "model": {"name": "pixel_cnn", "parameters": 12},
    "score": {"name": "bits_per_dim", "unit": "bits/dim"},
    "options": {"validation_fraction": 0.1, "validation_limit": 9, "batch_size": 8, "seed": 0},
    "versions": {"python": "3"},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"schema_version": 2},
            r"has schema_version 2 and this tfprior reads up to 1; install a newer one\.",
        ),
        ({"schema_version": None}, r"lacks schema_version: restore it, or train again\."),
        ({"schema_version": True}, "has schema_version True; expected 1"),
        ({"kind": None, "options": None}, "lacks kind, options"),
        (
            {"kind": "sampler"},
            "has kind 'sampler'; expected one of prior, tokenizer, encoder, classifier, model",
        ),
        ({"options": 3}, "has int as options; expected names and values"),
        ({"options": {"seed": 0}}, "lacks validation_fraction, validation_limit, batch_size of options"),
        ({"dota": {}}, "holds 'dota', which is no section of a run"),
        (
            {"data": {**CONFIG["data"], "grid_shape": [4, 5]}},
            r"has grid_shape \[4, 5\] of data; expected three",
        ),
        (
            {"data": {**CONFIG["data"], "levels": True}},
            "has levels True of data; expected a positive integer",
        ),
        ({"data": {**CONFIG["data"], "codes_of": {"tokenizer": "x"}}}, "expected where the codes come from"),
        ({"options": {**CONFIG["options"], "validation_fraction": 1}}, "expected a number between 0 and 1"),
        ({"versions": {"python": 3}}, "has other versions than words by name"),
        ({"result": {"epochs": 0}}, "lacks seconds, best_epoch, baselines of result"),
        (
            {"result": {"epochs": 1, "seconds": 1, "best_epoch": 1, "baselines": {}}},
            "has no number as best_bits_per_dim of result",
        ),
    ],
)
def test_configurations_that_are_wrong(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    told = {name: value for name, value in {**CONFIG, **changes}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=words) as error:
        load_run(tmp_path)
    assert str(error.value).startswith(str(tmp_path / "config.json"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data":', r"is damaged \(Expecting value"),
        ("[]", "holds a list; expected the sections of a run"),
        ("[" * 100_000, "is damaged"),
    ],
)
def test_configurations_that_are_none(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=words):
        load_run(tmp_path)


def test_numbers_that_no_run_has(tmp_path: Path) -> None:
    result = {"epochs": 1, "seconds": 1, "best_epoch": 1, "baselines": {}, "best_bits_per_dim": 10**400}
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "result": result}))
    with pytest.raises(ValueError, match="has no number as best_bits_per_dim of result: restore it"):
        load_run(tmp_path)
    score = {**CONFIG["score"], "better": "up"}
    (tmp_path / "config.json").write_text(json.dumps({**CONFIG, "score": score}))
    with pytest.raises(ValueError, match="has better 'up' of score; expected min or max"):
        load_run(tmp_path)
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,learning_rate,train,validation,seconds\n1,0.001,2,2," + "3" * 200_000 + "\n")
    with pytest.raises(ValueError, match=r"metrics\.csv is damaged; expected the columns epoch, learning"):
        RunFolder(tmp_path, CONFIG).history()


def test_a_bit_that_flipped_in_a_model_file_is_noticed(tmp_path: Path) -> None:
    prior, file = build_prior(made(), MODEL), tmp_path / "prior.keras"
    prior.save(file)
    whole = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        weights = archive.getinfo("model.weights.h5")
    start = weights.header_offset + 30 + len(weights.filename)
    for place in np.random.default_rng(0).integers(start, start + weights.compress_size, 12):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(place) % 8
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.weights\.h5 in it is damaged\); copy it again"):
            load_prior(file)
    file.write_bytes(whole)
    assert load_prior(file).weights_digest() == prior.weights_digest()


def test_kinds_and_scores_come_from_the_configuration(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, CONFIG)
    assert (run.is_tokenizer, run.of_codes, run.score) == (False, False, BITS_PER_DIM)
    assert run.pictures == ("curve.png", "samples.png")
    run = RunFolder(tmp_path, {**CONFIG, "kind": "tokenizer"})
    assert run.is_tokenizer
    assert run.pictures == ("curve.png", "reconstructions.png", "codebook_usage.png")


def test_opening_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is no folder"):
        load_run(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load_run(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
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
        (MODEL, {"smallest_crop": 0.5}, "cropped codes are not those of cropped images"),
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
