"""Arrays of .npy and .npz files, whose size is known and bounded before they are unpacked.

Nothing is unpickled, and every checksum of an archive is compared.
"""

import io
import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Literal, NamedTuple

import numpy as np

from .faults import Refused, file_named

MAX_BYTES = 2**34  # of all arrays of a file, unpacked: 16 GiB
AGAIN = "write or copy it again"
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
LONGEST_END = 22 + 2**16  # bytes of the end of a zip archive, with its comment
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # which NumPy writes


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file.

    Raises:
        ValueError: for a damaged file, Python objects, and more than 16 GiB.
    """
    with file_named(path, "a complete .npy file", AGAIN), path.open("rb") as stream:
        return _array(stream, path.stat().st_size, "an array")


def read_npz(
    path: Path, known: Collection[str] = (), remedy: str = AGAIN, without: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name.

    Args:
        path: the file.
        known: the names that it may hold; any, if there are none.
        remedy: of a damaged file.
        without: names of those that are left there.

    Raises:
        ValueError: for a damaged file, other names, Python objects, and more than 16 GiB when unpacked.
    """
    arrays: dict[str, np.ndarray] = {}
    with file_named(path, "a complete .npz file", remedy), zipfile.ZipFile(path) as archive:
        found = members_of(archive, path, known)
        members = {name: info for name, info in found.items() if name not in without}
        _check_size(sum(info.file_size for info in members.values()), "arrays")
        for name, info in members.items():
            arrays[name] = read_member(archive, name, info)
    return arrays


def members_of(
    archive: zipfile.ZipFile, path: Path, known: Collection[str] = ()
) -> dict[str, zipfile.ZipInfo]:
    """What an .npz file holds, by the names of its arrays.

    Raises:
        ValueError: for a damaged directory.
        Refused: for other names than those known, if there are any.
    """
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(members) != _num_members(path):
        raise ValueError("its directory does not name every array once")
    strange = [name for name in members if known and name not in known]
    if strange:
        raise Refused(
            f"holds an array named {strange[0][:100]!r}; expected {', '.join(known)}: rename it or leave "
            "it out."
        )
    return members


def read_member(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> np.ndarray:
    """An array of an .npz file, its checksum compared."""
    if info.compress_type not in PACKINGS:
        raise Refused(f"has {name} in another packing than NumPy's; expected np.savez: save it anew.")
    with archive.open(info) as stream:
        return _array(stream, info.file_size, name)


def _num_members(path: Path) -> int:
    """How many members the end of a zip archive tells, which zipfile does not compare with those it finds."""
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - LONGEST_END))
        end = stream.read()
    place = end.rfind(b"PK\5\6") + 10
    return int.from_bytes(end[place : place + 2], "little")


def _array(stream: IO[bytes], size: int, name: str) -> np.ndarray:
    """The array of `size` bytes, header and values, that a stream holds."""
    header = read_header(stream, size, name)
    count = math.prod(header.shape)
    _check_size(max(count * header.dtype.itemsize, count), name)  # a value may take no bytes
    stream.seek(0)
    array = np.lib.format.read_array(stream, allow_pickle=False)
    if stream.read(1):  # which makes an archive compare the checksum
        raise ValueError(f"{name} does not end where it should")
    return array


class Header(NamedTuple):
    """What an array says of itself: its shape, the order of its values ("C" or "F") and their type."""

    shape: tuple[int, ...]
    order: Literal["C", "F"]
    dtype: np.dtype


def read_header(stream: IO[bytes], size: int, name: str) -> Header:
    """The header of an array of `size` bytes with it; the stream then stands where the values begin.

    Raises:
        ValueError: for another number of bytes than the header tells.
        Refused: for Python objects.
    """
    start = stream.tell()
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{name} has version {version} of the format")
    shape, columns_first, dtype = HEADERS[version](stream)
    if dtype.hasobject:
        raise Refused(
            f"holds Python objects as {name}; expected integers: objects are never unpickled, so save a "
            "plain array."
        )
    told, held = math.prod(shape) * dtype.itemsize, size - (stream.tell() - start)
    if told != held or any(side < 0 for side in shape):
        raise ValueError(f"{name} has {held} bytes of values where its shape {shape} takes {told}")
    return Header(shape, "F" if columns_first else "C", dtype)


def _check_size(num_bytes: int, name: str) -> None:
    if num_bytes > MAX_BYTES:
        raise Refused(
            f"holds {num_bytes / 2**30:,.1f} GiB as {name}; expected at most {MAX_BYTES / 2**30:.0f} GiB: "
            "save fewer or smaller images, or smaller integers."
        )
