"""Slices of arrays in .npy and .npz files."""

import bisect
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from .levels import as_labels, as_values, check_channels_last
from .mapped import MappedArray, map_npy, map_npz
from .numpy_files import KEYS, holds_codes, stored_levels
from .slices import Slice, Slices, digest_of_files


class ArraySlices(Slices):
    """Images (N, H, W) or (N, H, W, C) of files, one after the other.

    Args:
        name: what errors call them.
        parts: the arrays, in order.
        labels: (N,) of all, if there are any.
        num_levels: where the files tell.
        are_codes: whether they hold codes.
        root: the folder that the files lie in.

    Raises:
        ValueError: for arrays that are no integer images of one shape, and other numbers of labels.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[MappedArray],
        labels: MappedArray | None,
        num_levels: int | None,
        are_codes: bool,
        root: Path,
    ) -> None:
        self.name, self.num_levels, self.has_labels = name, num_levels, labels is not None
        self.are_codes, self._parts, self._labels = are_codes, parts, labels
        self._ends = list(accumulate(part.shape[0] if part.shape else 0 for part in parts))
        self.count = self._ends[-1]
        if not self.count:
            raise ValueError(f"{name} holds no images; expected (N, H, W) or (N, H, W, C): add some.")
        first = self._values(parts[0], 0, 1)
        height, width, channels = first.shape[1:]
        self.grid_shape = (height, width, channels)
        for part in parts:
            if (part.shape[1:], part.header.dtype) != (parts[0].shape[1:], parts[0].header.dtype):
                raise ValueError(
                    f"{part.path} has {part.header.dtype} images of shape {part.shape[1:]} where "
                    f"{parts[0].path} has {parts[0].header.dtype} ones of {parts[0].shape[1:]}; expected "
                    "those of one shape and type."
                )
        if labels is not None and labels.shape[:1] != (self.count,):
            raise ValueError(
                f"{labels.name} of {name} has shape {labels.shape}; expected {self.count} labels, one for "
                "each image: store images and labels of the same examples."
            )
        self.digest = digest_of_files([part.path for part in parts], root)

    def read(self, start: int, stop: int) -> Slice:
        read = []
        index, at = bisect.bisect_right(self._ends, start), start
        while at < stop:
            first = self._ends[index] - self._parts[index].shape[0]
            until = min(stop, self._ends[index])
            read.append(self._values(self._parts[index], at - first, until - first))
            index, at = index + 1, until
        labels = None
        if self._labels is not None:
            source = f"{self._labels.name} of {self.name}"
            labels = as_labels(self._labels.read(start, stop), stop - start, source)
        return Slice(read[0] if len(read) == 1 else np.concatenate(read), labels)

    def _values(self, part: MappedArray, start: int, stop: int) -> np.ndarray:
        source = f"{part.name} of {self.name}"
        values = as_values(part.read(start, stop) if part.shape else np.zeros(()), source)
        if not self.are_codes:
            check_channels_last(values, source)
        return values


def npy_slices(path: Path) -> ArraySlices:
    """The images of an .npy file."""
    return ArraySlices(str(path), [map_npy(path)], None, None, False, path.parent)


def npy_folder_slices(folder: Path) -> ArraySlices:
    """Those of the .npy files of a folder, in the order of their names.

    Raises:
        ValueError: for a folder that holds anything else, too.
    """
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    strays = [path for path in files if path.suffix != ".npy"]
    if strays:
        raise ValueError(f"{folder} holds {strays[0].name} beside .npy files; expected these alone: move it.")
    return ArraySlices(str(folder), [map_npy(file) for file in files], None, None, False, folder)


def npz_slices(path: Path, part: str) -> ArraySlices:
    """The images and labels of a part, "train" or "test", of an .npz file.

    Raises:
        ValueError: where the file has no such part.
    """
    arrays = map_npz(path, KEYS)
    images, labels = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
    if not isinstance(images, MappedArray):
        raise ValueError(f"{path} has no x_{part}; expected it beside y_{part}: save the images under it.")
    assert labels is None or isinstance(labels, MappedArray)
    return ArraySlices(
        str(path),
        [images],
        labels,
        stored_levels(arrays, path) if "num_levels" in arrays else None,
        holds_codes(arrays, path),
        path.parent,
    )
