"""Where a run begins: new, where it was interrupted, or where it was finished."""

import contextlib
import errno
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfprior.atomic import remove_unfinished
from tfprior.runs.checkpoint import REMEDY, Checkpoint, Start
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
from tfprior.training.state_file import TrainingState, newest_state


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
    result, minutes = run.result or {}, config["options"].get("minutes")
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
    _, state = resume(run)
    if state is None:
        raise FileNotFoundError(f"{run.file(RESUME)} holds no state to go on from; {REMEDY}.")
    remove_unfinished(run.path)
    # Killed in between, the run is still a finished one, of which this is not asked.
    replace(checkpoint, start=Start(state.epoch, seconds_of(run))).write(run.path)
    # The weights that the run began with may have gone on changing: what it remembers of them stays.
    return RunFolder(run.path, {**config, "initial": run.config.get("initial")}).write_config()


def seconds_of(run: RunFolder) -> float:
    """What its epochs took; the result rounds them."""
    return run.history()[-1]["seconds"]


def resume(run: RunFolder) -> tuple[Start, TrainingState | None]:
    """Where training began, and what it goes on from; None at the beginning.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a damaged one.
    """
    state, checkpoint = newest_state(run.file(RESUME)), Checkpoint.read(run.path)
    if state is None:
        if checkpoint is not None and last_epoch(checkpoint) > 1:
            raise FileNotFoundError(f"{run.file(RESUME)} holds no state to go on from; {REMEDY}.")
        return Start(), None
    if not state.epoch:
        return Start(), state
    checkpoint = run.checkpoint()
    for name in (METRICS, BEST, LAST):
        checkpoint.version_of(run.file(name))
    return checkpoint.start, state


@dataclass(frozen=True)
class Begun:
    """What is done of the training that is under way, in types of JSON.

    Attributes:
        steps: that are done.
        rows: metrics of the epochs that are done.
        seconds: that they took.
        first_epoch: epochs that were done when it began; of a finished run that goes on, all of that run.
        first_seconds: that those took.
    """

    steps: int
    rows: list[dict[str, float]]
    seconds: float
    first_epoch: int
    first_seconds: float


def begun_in(run: RunFolder) -> Begun:
    """What the folder tells; FileNotFoundError and ValueError as in `resume`."""
    start, state = resume(run)
    if state is None:
        return Begun(0, [], 0.0, 0, 0.0)
    kept = state.remembered("Checkpoints") or {"rows": [], "seconds": 0.0}
    rows = list(kept["rows"])
    # At the end of an epoch its row tells: writing the files came after.
    seconds = kept["seconds"] if state.steps_of_epoch or not rows else rows[-1]["seconds"]
    return Begun(state.step, rows, seconds, start.epochs, start.seconds)


def last_epoch(checkpoint: Checkpoint) -> int:
    return max((version.epoch for versions in checkpoint.files.values() for version in versions), default=0)
