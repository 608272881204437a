"""Arrays of .npy and .npz files of which a slice is read by memory map, never the whole."""

import zipfile
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from .arrays import AGAIN, Header, members_of, read_header, read_member
from .faults import Refused, file_named
from .numpy_files import KEYS

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
        """The rows from `start` to before `stop`, in memory: what is mapped counts as the process's own.

        Raises:
            ValueError: for a file that is no longer as it was.
        """
        shape, order, dtype = self.header
        with file_named(self.path, "the arrays that it had", AGAIN):
            return np.array(np.memmap(self.path, dtype, "r", self.start, shape, order)[start:stop])


def map_npy(path: Path) -> MappedArray:
    """The array of an .npy file.

    Raises:
        ValueError: for a damaged file, and Python objects.
    """
    with file_named(path, "a complete .npy file", AGAIN), path.open("rb") as stream:
        header = read_header(stream, path.stat().st_size, "an array")
        return MappedArray(path, path.name, stream.tell(), header)


def map_npz(path: Path) -> dict[str, "MappedArray | np.ndarray"]:
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
        for name, info in members_of(archive, path, KEYS).items():
            if name[:2] not in ("x_", "y_"):
                arrays[name] = read_member(archive, name, info)
                continue
            if info.compress_type != zipfile.ZIP_STORED:
                raise Refused(
                    f"has {name} compressed, so that no part of it can be read alone; expected plain arrays: "
                    "save it by np.savez, or the images by np.save."
                )
            stream.seek(_start_of(stream, info))
            header = read_header(stream, info.file_size, name)
            arrays[name] = MappedArray(path, name, stream.tell(), header)
    return arrays


def _start_of(stream: IO[bytes], info: zipfile.ZipInfo) -> int:
    """Where a member begins: behind a header of its own, whose length the directory does not tell."""
    stream.seek(info.header_offset)
    header = stream.read(LOCAL_HEADER)
    if header[:4] != b"PK\3\4":
        raise ValueError(f"{info.filename} is not where its directory says")
    lengths = int.from_bytes(header[26:28], "little"), int.from_bytes(header[28:30], "little")
    return info.header_offset + LOCAL_HEADER + sum(lengths)
