"""Data that need not fit into memory: images or codes of which a slice is read at a time.

Legend: N images, H height, W width, C channels.
"""

import abc
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfprior.inputs import GridShape


class Slice(NamedTuple):
    """Integers (N, H, W, C), and labels (N,) int32 where the data have some."""

    values: np.ndarray
    labels: np.ndarray | None


class Slices(abc.ABC):
    """Images or codes, read slice by slice.

    Attributes:
        name: what errors call them.
        count: N, of all.
        grid_shape: (H, W, C).
        num_levels: kinds of value; None where the data do not tell.
        has_labels: whether slices have some.
        are_codes: whether the values are codes.
        digest: SHA-256 of the names, sizes and times of the files: of others it is another.
    """

    name: str
    count: int
    grid_shape: GridShape
    num_levels: int | None
    has_labels: bool
    are_codes: bool = False
    digest: str

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> Slice:
        """The examples from `start` to before `stop`.

        Raises:
            ValueError: for files that are damaged or hold something else.
        """


def digest_of_files(files: Iterable[Path], root: Path) -> str:
    """SHA-256 of names below `root`, sizes and times of change."""
    sha = hashlib.sha256()
    for file in files:
        told = os.stat(file)
        sha.update(f"{file.relative_to(root).as_posix()}\0{told.st_size}\0{told.st_mtime_ns}\n".encode())
    return sha.hexdigest()
