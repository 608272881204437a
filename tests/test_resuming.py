"""Runs that were interrupted, and finished ones that go on."""

import errno
import importlib
import io
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from small_runs import MODEL, QUIET, TOKENIZER, made, options

from tfprior.data import split_of
from tfprior.measuring import bits_per_dim
from tfprior.runs import load_run
from tfprior.runs.run_folder import RunFolder
from tfprior.training import train
from tfprior.training.description import differences
from tfprior.training.schedule import Schedule
from tfprior.training.state_file import TrainingState, newest_state


def test_a_disk_that_fills_up_costs_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, out = made(), tmp_path / "run"
    write = TrainingState.write_to

    def full(self: TrainingState, stream: Any) -> None:
        if self.epoch == 3:
            stream.write(b"half")
            raise OSError(errno.ENOSPC, "disk is gone")
        write(self, stream)

    monkeypatch.setattr(TrainingState, "write_to", full)
    words = (
        r"resume: the state after step 12 could not be written \(disk is gone\); the one before is as it was"
    )
    with pytest.raises(OSError, match=words):
        train(images, MODEL, out, options(), console=QUIET)
    assert load_run(out).result is None
    assert sorted(path.name for path in (out / "resume").iterdir()) == [
        "state-0000000004.npz",
        "state-0000000008.npz",
    ]
    monkeypatch.undo()
    (out / ".writing-1-best.keras").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"another batch_size \(8, now 4\)"):
        train(images, MODEL, out, options(batch_size=4), console=QUIET)
    log = io.StringIO()
    run = train(images, MODEL, out, options(), console=Console(file=log, width=200))
    assert "going on after epoch 2\n" in log.getvalue()
    assert "epoch 3/3" in log.getvalue()
    assert "epoch 2/3" not in log.getvalue()
    seconds = [row["seconds"] for row in run.history()]
    assert seconds == sorted(seconds)
    same_as(run, train(images, MODEL, tmp_path / "whole", options(), console=QUIET))


@pytest.mark.slow("flips", "dropout")
@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (MODEL, {"flip": True, "smallest_crop": 0.5}),
        ({"name": "gated_pixel_cnn", "filters": 4, "num_layers": 1, "dropout": 0.5}, {"ema": 0.9}),
        ({**TOKENIZER, "restart_below": 0.3}, {"ema": 0.9}),
    ],
    ids=["flips", "dropout", "restarts"],
)
def test_an_interrupted_run_ends_as_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: dict[str, Any], changes: dict[str, Any]
) -> None:
    images, settings = made(), options(checkpoint_minutes=1e-9, **changes)
    whole = train(images, model, tmp_path / "whole", settings, console=QUIET)
    out, begin, log = tmp_path / "run", Schedule.on_train_batch_begin, io.StringIO()
    for step in (3, 9):

        def killed(self: Schedule, batch: int, logs: Any = None, step: int = step) -> None:
            if self.step == step:
                raise KeyboardInterrupt
            begin(self, batch, logs)

        monkeypatch.setattr(Schedule, "on_train_batch_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            train(images, model, out, settings, console=Console(file=log, width=200))
    monkeypatch.undo()
    same_as(train(images, model, out, settings, console=Console(file=log, width=200)), whole)
    assert "going on after epoch 0 and 3 of 4 steps" in log.getvalue()
    assert "going on after epoch 2 and 1 of 4 steps" in log.getvalue()


def same_as(run: RunFolder, other: RunFolder) -> None:
    """Bit for bit, but for the seconds."""
    names = {
        str(path.relative_to(run.path)) for path in run.path.rglob("*") if "tensorboard" not in str(path)
    }
    assert names == {
        str(path.relative_to(other.path)) for path in other.path.rglob("*") if "tensorboard" not in str(path)
    }
    rows, others = ([{**row, "seconds": 0} for row in each.history()] for each in (run, other))
    assert rows == others
    for which in ("best.keras", "last.keras"):
        assert run.load(which).weights_digest() == other.load(which).weights_digest()
    one, two = (newest_state(each.file("resume")) for each in (run, other))
    assert one is not None
    assert two is not None
    assert one.history == two.history
    assert one.arrays.keys() == two.arrays.keys()
    for part, arrays in one.arrays.items():
        for array, same in zip(arrays, two.arrays[part], strict=True):
            np.testing.assert_array_equal(array, same)


@pytest.fixture(scope="module", autouse=True)
def blank_pictures() -> Iterator[None]:
    """What a run draws when it ends, test_trainer looks at."""

    def draw_nothing(run: RunFolder, *_: Any) -> None:
        for name in run.pictures:
            Image.new("L", (1, 1)).save(run.file(name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("tfprior.training.trainer"), "illustrate", draw_nothing)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of four steps each."""
    out = tmp_path_factory.mktemp("finished") / "run"
    return train(made(36), MODEL, out, options(epochs=2), console=QUIET).path


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def unfinished(copied: Path) -> Path:
    """As a run that was killed before it wrote its result."""
    config = load_run(copied).config
    RunFolder(copied, {name: config[name] for name in config if name != "result"}).write_config()
    return copied


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("name", ["best.keras", "last.keras", "metrics.csv"])
def test_a_flipped_bit_is_noticed_before_training(unfinished: Path, name: str) -> None:
    damage(unfinished / name)
    words = rf"{name} is damaged: it is not what was written in training; restore it from a copy, or .*--over"
    with pytest.raises(ValueError, match=words):
        train(made(36), MODEL, unfinished, options(epochs=2), console=QUIET)
    (unfinished / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing; restore it from a copy"):
        train(made(36), MODEL, unfinished, options(epochs=2), console=QUIET)


def test_a_damaged_state_costs_what_came_after_the_one_before(tmp_path: Path) -> None:
    images, out = made(36), tmp_path / "run"
    run = train(images, MODEL, out, options(epochs=3), console=QUIET)
    RunFolder(out, {**run.config, "result": None}).write_config()
    newest, kept = out / "resume" / "state-0000000012.npz", tmp_path / "kept.npz"
    assert list(newest.parent.iterdir()) == [newest]  # a finished run has but one
    shutil.copy(newest, kept)
    damage(newest)
    words = r"state-0000000012\.npz .*: delete it\. No other state in .*resume can be read: train anew"
    with pytest.raises(ValueError, match=words):
        train(images, MODEL, out, options(epochs=3), console=QUIET)
    shutil.rmtree(out)
    train(images, MODEL, out, options(epochs=2), console=QUIET)
    shutil.copy(kept, newest)
    damage(newest)
    with pytest.warns(UserWarning, match=r"0012\.npz .*Going on from state-0000000008\.npz, the one before"):
        run = train(images, MODEL, out, options(epochs=3), console=QUIET)
    assert len(run.history()) == 3


def test_a_shortened_history_is_noticed(unfinished: Path) -> None:
    file = unfinished / "metrics.csv"
    text = file.read_text()
    for kept in (text[:-3], "".join(text.splitlines(keepends=True)[:2])):
        file.write_text(kept)
        with pytest.raises(ValueError, match=r"metrics\.csv is damaged: it is not what was written"):
            train(made(36), MODEL, unfinished, options(epochs=2), console=QUIET)


def test_what_files_are_checked_by_is_checked_itself(copied: Path) -> None:
    file = copied / "checkpoint.json"
    told = file.read_text()
    file.write_text(told.replace('"epoch": 2', '"epoch": 1'))
    with pytest.raises(ValueError, match=r"checkpoint\.json is damaged; restore it"):
        load_run(copied).load()
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"checkpoint\.json is missing, by which the run's files are"):
        load_run(copied).load()
    file.write_text(told)
    damage(copied / "best.keras")
    with pytest.raises(ValueError, match=r"best\.keras is damaged: it is not what was written in training"):
        load_run(copied).load()


def test_ctrl_c_leaves_what_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Schedule.on_train_batch_begin

    def press(self: Schedule, batch: int, logs: Any = None) -> None:
        if self.step == 6:  # in the second epoch
            raise KeyboardInterrupt
        begin(self, batch, logs)

    monkeypatch.setattr(Schedule, "on_train_batch_begin", press)
    with pytest.raises(KeyboardInterrupt):
        train(made(36), MODEL, tmp_path, options(epochs=2), console=QUIET)
    monkeypatch.undo()
    assert not (tmp_path / "run.lock").exists()
    first = load_run(tmp_path).history()
    assert [row["epoch"] for row in first] == [1]
    run = train(made(36), MODEL, tmp_path, options(epochs=2), console=QUIET)
    assert run.history()[0] == first[0]
    assert len(run.history()) == 2


def test_a_finished_run_goes_on_for_more_epochs(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, before = made(36), load_run(copied).history()
    for epochs in (1, 2):
        words = r"finished run \(2 epochs, \d.*bits/dim\); pass more --epochs to go on, or --overwrite"
        with pytest.raises(ValueError, match=words):
            train(images, MODEL, copied, options(epochs=epochs), console=QUIET)
    with pytest.raises(ValueError, match=r"bits/dim\) with another batch_size \(8, now 4\); change"):
        train(images, MODEL, copied, options(epochs=4, batch_size=4), console=QUIET)
    rates, begin, log = [], Schedule.on_train_batch_begin, io.StringIO()
    interrupted = False

    def watch(self: Schedule, batch: int, logs: Any = None) -> None:
        nonlocal interrupted
        if len(rates) == 5 and not interrupted:
            interrupted = True
            raise KeyboardInterrupt
        begin(self, batch, logs)
        rates.append(float(self.model.optimizer.learning_rate))

    monkeypatch.setattr(Schedule, "on_train_batch_begin", watch)
    with pytest.raises(KeyboardInterrupt):  # a run that goes on can be interrupted like any other
        train(images, MODEL, copied, options(epochs=4), console=QUIET)
    assert load_run(copied).result is None
    run = train(images, MODEL, copied, options(epochs=4), console=Console(file=log, width=200))
    assert "going on after epoch 3" in log.getvalue()
    rows = run.history()
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert rows[:2] == before
    assert rows[2]["seconds"] > rows[1]["seconds"]
    assert run.result is not None
    assert run.result["epochs"] == 4
    # From its height down to zero again, over eight steps; the fifth step was taken twice.
    falling = [1e-3 * (1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]
    assert rates[:5] == pytest.approx(falling[:5], rel=1e-5)
    assert rates[5:] == pytest.approx(falling[4:], rel=1e-5)
    state = newest_state(run.file("resume"))
    assert state is not None
    assert int(state.arrays["optimizer"][0]) == state.step == 16  # its iterations
    with pytest.raises(ValueError, match=r"finished run \(4 epochs"):
        train(images, MODEL, copied, options(epochs=4), console=QUIET)


@pytest.mark.slow("prior")
@pytest.mark.parametrize(
    ("model", "precision", "ema"),
    [(TOKENIZER, "mixed_float16", 0.9), (MODEL, "mixed_bfloat16", None)],
    ids=["tokenizer", "prior"],
)
def test_a_run_goes_on_in_its_precision(
    tmp_path: Path, model: dict[str, Any], precision: Any, ema: float | None
) -> None:
    images, out = made(), tmp_path / "run"
    run = train(images, model, out, options(epochs=1, precision=precision, ema=ema), console=QUIET)
    assert run.config["options"]["precision"] == precision
    assert f"| precision | {precision} |" in (out / "model_card.md").read_text()
    with pytest.raises(ValueError, match=rf"another precision \({precision}, now float32\)"):
        train(images, model, out, options(epochs=2, ema=ema), console=QUIET)
    run = train(images, model, out, options(epochs=2, precision=precision, ema=ema), console=QUIET)
    assert [row["epoch"] for row in run.history()] == [1, 2]
    trained = run.load()
    assert {layer.dtype_policy.name for layer in trained._flatten_layers()} == {precision}
    # Measured in float32; the rows are of training.
    values, _ = split_of(images, "validation", run.config["options"])
    exact = bits_per_dim(trained, values)
    assert run.best_score == pytest.approx(exact, rel=1e-6)
    assert run.history()[run.result["best_epoch"] - 1]["validation"] == pytest.approx(exact, rel=5e-3)


def test_a_run_of_before_precision_was_told_is_one_in_float32(copied: Path) -> None:
    run = load_run(copied)
    told = {name: value for name, value in run.config["options"].items() if name != "precision"}
    RunFolder(copied, {**run.config, "options": told}).write_config()
    with pytest.raises(ValueError, match=r"another precision \(float32, now mixed_bfloat16\)"):
        train(made(36), MODEL, copied, options(epochs=4, precision="mixed_bfloat16"), console=QUIET)
    assert len(train(made(36), MODEL, copied, options(epochs=4), console=QUIET).history()) == 4


@pytest.mark.slow
def test_fine_tuning_in_another_precision(finished: Path, tmp_path: Path) -> None:
    expected = load_run(finished).load().weights_digest()
    still = options(epochs=1, learning_rate=1e-30, precision="mixed_bfloat16")
    run = train(made(36), MODEL, tmp_path / "tuned", still, console=QUIET, initial=finished)
    assert run.load().weights_digest() == expected


def test_a_finished_run_without_what_it_goes_on_from(copied: Path) -> None:
    shutil.rmtree(copied / "resume")
    with pytest.raises(FileNotFoundError, match=r"resume holds no state to go on from; restore it"):
        train(made(36), MODEL, copied, options(epochs=4), console=QUIET)
    assert load_run(copied).result is not None
    load_run(copied).load()


def test_fine_tuning_begins_with_the_weights_of_another_run(finished: Path, tmp_path: Path) -> None:
    images, out = made(36), tmp_path / "tuned"
    still = options(epochs=1, learning_rate=1e-30)
    expected = load_run(finished).load().weights_digest()
    for initial in (finished, finished / "best.keras"):
        run = train(images, MODEL, out, still, console=QUIET, initial=initial, overwrite=True)
        assert run.load().weights_digest() == expected
        assert load_run(out).config["initial"] == {"path": str(initial.resolve()), "digest": expected}
    with pytest.raises(ValueError, match="another initial"):
        train(images, MODEL, out, options(epochs=2, learning_rate=1e-30), console=QUIET, initial=finished)


@pytest.mark.slow
def test_fine_tuning_goes_on_without_the_weights_that_it_began_with(finished: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source.keras", tmp_path / "tuned"
    shutil.copy(finished / "best.keras", source)
    still = options(epochs=1, learning_rate=1e-30)
    run = train(made(36), MODEL, out, still, console=QUIET, initial=source)
    began, expected = run.config["initial"], run.load().weights_digest()
    RunFolder(out, {**run.config, "result": None}).write_config()
    source.unlink()
    assert train(made(36), MODEL, out, still, console=QUIET, initial=source).config["initial"] == began
    more = options(epochs=2, learning_rate=1e-30)
    longer = train(made(36), MODEL, out, more, console=QUIET, initial=source)
    assert (longer.config["initial"], len(longer.history())) == (began, 2)
    assert longer.load().weights_digest() == expected
    with pytest.raises(FileNotFoundError, match=r"source\.keras is no file"):
        train(made(36), MODEL, out, still, console=QUIET, initial=source, overwrite=True)
    assert load_run(out) == longer


@pytest.mark.slow("illustrate")
@pytest.mark.parametrize("place", ["write_config", "illustrate"])
def test_a_full_disk_at_the_beginning_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    owner = RunFolder if place == "write_config" else importlib.import_module("tfprior.training.trainer")
    out = tmp_path / "brackets [red] stay"
    monkeypatch.setattr(owner, place, fail)
    words = (
        r"stay: a file could not be written \(No space left on device\); what was there is as it was: make"
    )
    with pytest.raises(OSError, match=words):
        train(made(36), MODEL, out, options(epochs=1), console=QUIET)
    monkeypatch.undo()
    log = io.StringIO()
    run = train(made(36), MODEL, out, options(epochs=1), console=Console(file=log, width=200))
    assert run.result is not None
    train(made(36), MODEL, out, options(epochs=2), console=Console(file=log, width=300))
    assert f"{out}: going on after epoch 1" in log.getvalue()


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({**MODEL, "filters": 6}, r"has another filters \(4, now 6\) than what is to be trained"),
        ({**MODEL, "conditional": True}, r"has another .*num_classes \(None, now 3\) than"),
        ({**MODEL, "output": "logistic"}, r"another distribution \(Categorical, now DiscretizedLogistic\)"),
        (TOKENIZER, "is a PixelCNN, and VQVAE is to be trained; expected the same architecture"),
    ],
)
def test_what_cannot_be_fine_tuned(finished: Path, tmp_path: Path, model: dict[str, Any], words: str) -> None:
    (tmp_path / "config.json").write_text("old")
    with pytest.raises(ValueError, match=words):
        train(made(36), model, tmp_path, options(), console=QUIET, initial=finished, overwrite=True)
    assert (tmp_path / "config.json").read_text() == "old"
    with pytest.raises(ValueError, match=r"is in .*run, where the new run goes; choose another --out"):
        train(made(36), MODEL, finished, options(), console=QUIET, initial=finished / "best.keras")


def test_differences_are_named() -> None:
    before = {"data": {"a": 1}, "model": {"filters": 4}, "options": {}}
    now = {"data": {"a": 1}, "model": {"filters": 8}, "options": {"seed": 1}}
    assert differences(before, now) == ["filters (4, now 8)", "seed (None, now 1)"]
