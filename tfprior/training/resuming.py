"""Where a run begins: new, where it was interrupted, or where it was finished."""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfprior.atomic import remove_unfinished
from tfprior.grid_model import GridModel
from tfprior.runs.checkpoint import Checkpoint, Start
from tfprior.runs.lock import is_empty, locked
from tfprior.runs.run_folder import (
    BEST,
    CONFIG,
    LAST,
    METRICS,
    RESUME,
    RunFolder,
    holds_run,
    load_run,
)
from tfprior.training.description import LENGTHS, differences


@contextlib.contextmanager
def opened(path: Path, config: dict[str, Any], overwrite: bool, epochs: int) -> Iterator[RunFolder]:
    """A new run, or the one that `path` holds, which no other process trains meanwhile.

    Args:
        path: of the folder.
        config: of the run as it is to be.
        overwrite: deletes the run that is there.
        epochs: how many the run is to have.

    Raises:
        ValueError: for a folder that holds a finished or another run.
        FileExistsError: for a folder that holds anything else.
        BlockingIOError: while another process trains it.
    """
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; expected a folder for --out.")
    with locked(path):
        yield open_folder(path, config, overwrite, epochs)


@contextlib.contextmanager
def full_disk_explained(path: Path) -> Iterator[None]:
    """An error of a full disk says how to go on, whatever file it was: the checkpoint is still there."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OSError(
            f"{path}: a file could not be written ({error.strerror}); what was there is as it was: make "
            "room, and give the same command to go on."
        ) from error


def open_folder(path: Path, config: dict[str, Any], overwrite: bool, epochs: int) -> RunFolder:
    if is_empty(path):
        remove_unfinished(path)
        return RunFolder(path, config).write_config()
    if not (path / CONFIG).exists() or (overwrite and not holds_run(path)):
        raise FileExistsError(f"{path} holds files and no run; choose another --out.")
    if overwrite:
        RunFolder(path, {}).clear()
        return RunFolder(path, config).write_config()
    run = load_run(path)
    if run.result:
        return longer(run, config, epochs)
    changed = differences(run.config, config)
    if changed:
        raise ValueError(
            f"{path} holds an unfinished run with another {', '.join(changed)}; give the same command to go "
            "on, or --overwrite to train anew."
        )
    remove_unfinished(path)
    return run


def longer(run: RunFolder, config: dict[str, Any], epochs: int) -> RunFolder:
    """The finished run as one that goes on to more epochs, or more minutes."""
    result, minutes = run.result or {}, config["options"]["minutes"]
    found = (
        f"{run.path} holds a finished run ({result['epochs']} epochs, {run.best_score:.4f} {run.score.unit})"
    )
    if epochs <= result["epochs"] or (minutes is not None and 60 * minutes <= seconds_of(run)):
        raise ValueError(f"{found}; pass more --epochs to go on, or --overwrite to train anew.")
    changed = differences(run.config, config, but=LENGTHS)
    if changed:
        raise ValueError(
            f"{found} with another {', '.join(changed)}; change nothing but --epochs and --minutes to go on, "
            "or pass --overwrite to train anew."
        )
    checkpoint = run.checkpoint().settled(run.path)  # also checks every file
    remove_unfinished(run.path)
    # Killed in between, the run is still a finished one, of which this is not asked.
    (written,) = checkpoint.files[RESUME]
    replace(checkpoint, start=Start(written.epoch, seconds_of(run))).write(run.path)
    # The weights that the run began with may have gone on changing: what it remembers of them stays.
    return RunFolder(run.path, {**config, "initial": run.config.get("initial")}).write_config()


def seconds_of(run: RunFolder) -> float:
    """What its epochs took; the result rounds them."""
    return run.history()[-1]["seconds"]


def resume(model: GridModel, run: RunFolder) -> tuple[Start, list[dict[str, float]]]:
    """Restores weights and optimizer of an interrupted run: (where it began, metrics of the epochs done).

    The file to resume from tells how many epochs are done; metrics.csv may have one more.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a damaged one.
    """
    file = run.file(RESUME)
    if not file.exists() and may_be_before_the_first(Checkpoint.read(run.path)):
        return Start(), []
    checkpoint = run.checkpoint()
    done = checkpoint.version_of(file).epoch
    for name in (BEST, LAST):
        checkpoint.version_of(run.file(name))
    rows = run.history()
    if len(rows) < done:
        raise ValueError(
            f"{run.file(METRICS)} holds {len(rows)} lines after {done} epochs; restore it from a copy, or "
            "train again with --overwrite."
        )
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(file)
    except Exception as error:
        raise ValueError(
            f"{file} is damaged ({type(error).__name__}) and the run cannot go on; start it anew with "
            "--overwrite."
        ) from error
    return checkpoint.start, rows[:done]


def may_be_before_the_first(checkpoint: Checkpoint | None) -> bool:
    """Whether the run may have been killed before there was a file to resume from."""
    versions = checkpoint.files.get(RESUME, ()) if checkpoint else ()
    return [version.epoch for version in versions] in ([], [1])
