"""Slices of pictures in Parquet files, the form of the data sets on Hugging Face's hub.

A row has the bytes of an image file, in a column of bytes or under "bytes" in a column of structures, and an
integer in a column named "label" where it has a class. Several files lie in a folder, in the order of their
names; those that begin with "train", "val" or "test" are these parts.
"""

import bisect
import functools
import math
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import MAX_BYTES
from .decoding import check_alike, decoded, stacked
from .faults import Refused, file_named
from .folder_slices import check_same_grids
from .holdout import hold_out
from .image_file import SUFFIXES, decode_bytes
from .images import Images
from .levels import as_labels
from .slices import Slice, Slices, digest_of_files

SUFFIX = ".parquet"
LABEL = "label"


def parquet_files(path: Path) -> list[Path]:
    """A Parquet file, or those of a folder in the order of their names; none of anything else.

    Raises:
        ValueError: for a folder that holds other data, too.
    """
    if not path.is_dir():
        return [path] if path.suffix.lower() == SUFFIX else []
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == SUFFIX)
    data = (*SUFFIXES, ".npy", ".npz")
    strays = sorted(each.name for each in path.iterdir() if each.is_dir() or each.suffix.lower() in data)
    if files and strays:
        raise ValueError(f"{path} holds {strays[0]} beside Parquet files; expected these alone: move it.")
    return files


def files_of_part(files: list[Path], part: str) -> list[Path]:
    """Those of a part, "train" or "test"; files of which none names a part are all "train".

    What is to validate on is the part to test on where there is no other, and else joins the training part.

    Raises:
        ValueError: for a file that names no part beside others that do.
    """
    beginnings = ("train", "val", "test")
    named = {name: [file for file in files if file.name.lower().startswith(name)] for name in beginnings}
    strays = [file.name for file in files if not file.name.lower().startswith(beginnings)]
    if len(strays) == len(files):
        return files if part == "train" else []
    if strays:
        raise ValueError(
            f"{files[0].parent} holds {strays[0]} beside files of parts; expected names that begin with "
            "train, val or test: rename it."
        )
    held_out = named["test"] or named["val"]
    return held_out if part == "test" else [file for file in files if file not in held_out]


def images_of_parquet(path: Path, files: list[Path], image_size: tuple[int, int] | None) -> Images:
    """All pictures in Parquet files; without a part to test on, one tenth is held out.

    Raises:
        ModuleNotFoundError: without the package pyarrow.
        ValueError: for damaged files, pictures of several kinds, and more than 16 GiB of them.
    """
    parts = []
    for part in ("train", "test"):
        if its := files_of_part(files, part):
            slices = ParquetSlices(its, path, image_size, channels=1)
            if slices.count * math.prod(slices.grid_shape) * slices.bytes_of_a_value > MAX_BYTES:
                raise ValueError(
                    f"{path} holds more than {MAX_BYTES / 2**30:.0f} GiB of images; expected fewer or "
                    "smaller ones: pass image_size= to crop and resize them."
                )
            parts.append(slices.read(0, slices.count))
            num_levels = slices.num_levels
    if not parts:
        raise ValueError(f"{path} has no train part; expected files whose names begin with it: rename them.")
    train, *tests = parts
    if not tests:
        kept, held_out = (
            Slice(train.values[rows], None if train.labels is None else train.labels[rows])
            for rows in hold_out(len(train.values), str(path))
        )
        train, tests = kept, [held_out]
    return Images(path.resolve().name, *train, *tests[0], num_levels)


class ParquetSlices(Slices):
    """The pictures of Parquet files, of which the row groups are read that a slice lies in.

    Args:
        files: in order.
        name: of the file, or of the folder that they lie in.
        image_size: (H, W) that they are cropped and resized to.
        channels: 3 has grey images as RGB.

    Raises:
        ModuleNotFoundError: without the package pyarrow.
        ValueError: for files that are damaged, or without exactly one column of pictures.
    """

    def __init__(
        self, files: list[Path], name: Path, image_size: tuple[int, int] | None, channels: int
    ) -> None:
        self.name, self._image_size, self._channels = str(name), image_size, channels
        parquet = _parquet(name)
        self._groups: list[tuple[Path, int]] = []
        counts: list[int] = []
        columns = set()
        for file in files:
            with file_named(file, "a Parquet file", "replace it"):
                told = parquet.ParquetFile(file)
                groups = range(told.metadata.num_row_groups)
                counts += [told.metadata.row_group(group).num_rows for group in groups]
                self._groups += [(file, group) for group in groups]
                columns.add((column_of_pictures(told.schema_arrow), has_labels(told.schema_arrow)))
        if len(columns) != 1 or not sum(counts):
            raise ValueError(
                f"{name} holds {sum(counts)} rows under {len(columns)} kinds of columns; expected rows of "
                "pictures, in all files under the same names: write them alike."
            )
        ((self._column, self.has_labels),) = columns
        self._ends = list(accumulate(counts))
        self.count = self._ends[-1]
        self.digest = digest_of_files(files, files[0].parent)
        self._read_group = functools.lru_cache(maxsize=1)(self._read_group_of)  # slices lie side by side
        (self._first,), _ = self._pictures(0, 1)
        height, width = self._first.values.shape[:2]
        self.grid_shape = (height, width, max(channels, 1 if self._first.values.ndim == 2 else 3))
        self.num_levels: int = self._first.num_levels
        self.bytes_of_a_value = self._first.values.itemsize

    def read(self, start: int, stop: int) -> Slice:
        pictures, labels = self._pictures(start, stop)
        names = [self._row(index) for index in range(start, stop)]
        check_alike(pictures, names, self._first, self._row(0))
        values = stacked([picture.values for picture in pictures])
        values = values if values.ndim == 4 else values[..., None]
        if values.shape[-1] < self._channels:
            values = np.repeat(values, self._channels, axis=-1)
        here, there = (values.shape[1:], self.num_levels), (self.grid_shape, self.num_levels)
        check_same_grids(here, there, names[0], self._row(0))
        if labels is None:
            return Slice(values, None)
        return Slice(values, as_labels(labels, stop - start, f"{LABEL} of {self.name}"))

    def _row(self, index: int) -> str:
        return f"Row {index} of {self.name}"

    def _pictures(self, start: int, stop: int) -> tuple[list[Any], np.ndarray | None]:
        rows: list[Any] = []
        labels: list[Any] = []
        group, at = bisect.bisect_right(self._ends, start), start
        while at < stop:
            first = self._ends[group - 1] if group else 0
            until = min(stop, self._ends[group])
            table = self._read_group(group)
            rows += table[self._column][at - first : until - first].to_pylist()
            if self.has_labels:
                labels += table[LABEL][at - first : until - first].to_pylist()
            group, at = group + 1, until
        files = [row["bytes"] if isinstance(row, dict) else row for row in rows]
        named = [(data, self._row(start + index)) for index, data in enumerate(files)]
        pictures = decoded(named, functools.partial(decode_bytes, image_size=self._image_size))
        return pictures, np.asarray(labels) if self.has_labels else None

    def _read_group_of(self, group: int) -> Any:
        file, index = self._groups[group]
        wanted = [self._column, LABEL] if self.has_labels else [self._column]
        with file_named(file, "a whole Parquet file", "replace it"):
            return _parquet(file).ParquetFile(file).read_row_group(index, columns=wanted, use_threads=False)


def column_of_pictures(schema: Any) -> str:
    """The name of the one column that holds bytes, or structures that do.

    Raises:
        Refused: for none, and for several.
    """
    import pyarrow

    def holds_bytes(kind: Any) -> bool:
        return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))

    found = [
        field.name
        for field in schema
        if holds_bytes(field.type)
        or (
            pyarrow.types.is_struct(field.type)
            and any(part.name == "bytes" and holds_bytes(part.type) for part in field.type)
        )
    ]
    if len(found) != 1:
        raise Refused(
            f"has the columns {', '.join(schema.names)}, of which {len(found)} hold pictures; expected one, "
            "of the bytes of image files: keep that one."
        )
    return str(found[0])


def has_labels(schema: Any) -> bool:
    import pyarrow

    return LABEL in schema.names and bool(pyarrow.types.is_integer(schema.field(LABEL).type))


def _parquet(path: Path) -> Any:
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path} needs the package pyarrow: pip install 'tfprior[parquet]'.", name=error.name
        ) from error
    return pyarrow.parquet
