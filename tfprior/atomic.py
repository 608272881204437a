"""Files appear whole or not at all."""

import contextlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".writing-"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, flushed to disk and renamed to it when the block ends without an error.

    The temporary name keeps every suffix, by which Keras and Pillow choose the format.

    Raises:
        OSError: when the folder cannot be made or the file not written; `path` is then as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Processes of several machines, which may have one number, write into a folder that they share.
    temporary = path.with_name(f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def finished_name(path: str) -> str:
    """What a file is called once it is whole."""
    return re.sub(rf"{re.escape(TEMPORARY)}\d+-[0-9a-f]{{8}}-(?=[^/\\]+$)", "", path)


def remove_unfinished(folder: str | os.PathLike[str]) -> None:
    """Deletes the temporary files that a killed process left in `folder`."""
    for leftover in Path(folder).glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` at once."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def flush(path: Path) -> None:
    """Waits until the file, or the folder's list of files, is on disk."""
    on_windows = sys.platform == "win32"  # which opens no folder, and flushes what may be written to
    if on_windows and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
