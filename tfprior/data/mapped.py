"""Arrays of .npy and .npz files of which a slice is read by memory map, never the whole."""

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from .arrays import AGAIN, Header, members_of, read_header, read_member
from .faults import Refused, file_named

LARGE = 2**30
"""Bytes from which images stay in their file."""
READ_AT_ONCE = 2**22
LOCAL_HEADER = 30
"""Bytes in front of a member of a zip archive, before its name and further fields."""


class MappedArray(NamedTuple):
    """Where an array lies in a file.

    Attributes:
        path: the file.
        name: of the array.
        start: bytes before its values.
        header: what it says of itself.
    """

    path: Path
    name: str
    start: int
    header: Header

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        """The rows from `start` to before `stop`, as `take` gives them."""
        return self.take(slice(start, stop))

    def take(self, which: Any) -> np.ndarray:
        """Its part [which], in memory: what is mapped counts as the process's own.

        Raises:
            ValueError: for a file that is no longer as it was.
        """
        shape, order, dtype = self.header
        with file_named(self.path, "the arrays that it had", AGAIN):
            return np.array(np.memmap(self.path, dtype, "r", self.start, shape, order)[which])

    @property
    def is_large(self) -> bool:
        """Whether it is better left where it is."""
        return math.prod(self.shape) * self.header.dtype.itemsize >= LARGE

    def with_channel(self) -> "MappedArray":
        """Images (N, H, W) as (N, H, W, 1)."""
        return self._replace(header=self.header._replace(shape=(*self.shape, 1)))


def map_npy(path: Path) -> MappedArray:
    """The array of an .npy file.

    Raises:
        ValueError: for a damaged file, and Python objects.
    """
    with file_named(path, "a complete .npy file", AGAIN), path.open("rb") as stream:
        header = read_header(stream, path.stat().st_size, "an array")
        return MappedArray(path, path.name, stream.tell(), header)


def map_images(
    path: Path, known: Collection[str], names: Collection[str], least: int = 0, remedy: str = AGAIN
) -> dict[str, MappedArray]:
    """Arrays of an .npz file that stay there: those of the names that are not compressed.

    Args:
        path: the file.
        known: the names that it may hold.
        names: of arrays that may stay there.
        least: bytes that they have at least.
        remedy: of a damaged file.

    Raises:
        ValueError: for a damaged file: their checksums are compared.
    """
    arrays: dict[str, MappedArray] = {}
    with (
        file_named(path, "a complete .npz file", remedy),
        path.open("rb") as stream,
        zipfile.ZipFile(path) as archive,
    ):
        for name, info in members_of(archive, path, known).items():
            if name in names and info.file_size >= least and info.compress_type == zipfile.ZIP_STORED:
                with archive.open(info) as member:
                    while member.read(READ_AT_ONCE):
                        pass
                arrays[name] = _member(path, stream, name, info)
    return arrays


def map_npz(path: Path, known: Collection[str]) -> dict[str, "MappedArray | np.ndarray"]:
    """The arrays of an .npz file by name: images and labels in their places, what is small as it is.

    Raises:
        ValueError: for a damaged file, other names, Python objects, and images or labels that are compressed,
            of which no part can be read alone.
    """
    arrays: dict[str, MappedArray | np.ndarray] = {}
    with (
        file_named(path, "a complete .npz file", AGAIN),
        path.open("rb") as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        for name, info in members_of(archive, path, known).items():
            if name[:2] not in ("x_", "y_"):
                arrays[name] = read_member(archive, name, info)
                continue
            if info.compress_type != zipfile.ZIP_STORED:
                raise Refused(
                    f"has {name} compressed, so that no part of it can be read alone; expected plain arrays: "
                    "save it by np.savez, or the images by np.save."
                )
            arrays[name] = _member(path, stream, name, info)
    return arrays


def _member(path: Path, stream: IO[bytes], name: str, info: zipfile.ZipInfo) -> MappedArray:
    stream.seek(_start_of(stream, info))
    header = read_header(stream, info.file_size, name)
    return MappedArray(path, name, stream.tell(), header)


def _start_of(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member begins: behind a header of its own, whose length the directory does not tell."""
    stream.seek(info.header_offset)
    header = stream.read(LOCAL_HEADER)
    if header[:4] != b"PK\3\4":
        raise ValueError(f"{info.filename} is not where its directory says")
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return info.header_offset + LOCAL_HEADER + sum(lengths)
