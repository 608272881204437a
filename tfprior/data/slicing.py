"""One door to data of any size, as `load` is to those that fit into memory."""

import hashlib
import os
from pathlib import Path

import numpy as np

from .array_slices import npy_folder_slices, npy_slices, npz_slices
from .code_shards import DESCRIPTION
from .codes import ShardedCodes
from .folder_slices import FolderSlices
from .image_size import check_image_size
from .loading import NAMED, check_path
from .parquet_slices import ParquetSlices, files_of_part, parquet_files
from .slices import Slice, Slices

PARTS = ("train", "test")


def open_slices(
    name_or_path: str | os.PathLike[str],
    part: str = "train",
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int = 1,
) -> Slices:
    """Opens data of which a slice is read at a time; nothing is held out, unlike by `load`.

    Args:
        name_or_path: an .npy or .npz file that is not compressed, a .parquet file of pictures, a folder of
            these, of images, of .npy files, or of codes in shards, or the name of a data set, which is read
            whole.
        part: "train" or "test", of data in parts; others are one, "train".
        image_size: H = W, or (H, W), to which the pictures of a folder, or in Parquet, are cropped and
            resized.
        channels: 3 takes those that are grey as RGB.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for an unknown name, a part that there is not, and data that are unreadable or no integer
            images.
    """
    if part not in PARTS:
        raise ValueError(f"part={part!r}; expected one of {', '.join(map(repr, PARTS))}.")
    size = None if image_size is None else check_image_size(image_size)
    if isinstance(name_or_path, str) and name_or_path in NAMED:
        opened: Slices = LoadedSlices(name_or_path, part)
    else:
        path = Path(name_or_path).expanduser()
        check_path(path, name_or_path)
        if pictures := parquet_files(path):
            if not (its := files_of_part(pictures, part)):
                raise ValueError(
                    f"{path} has no {part} part; expected files whose names begin with it: rename them."
                )
            return ParquetSlices(its, path, size, channels)
        holds_codes, holds_arrays = (path / DESCRIPTION).exists(), any(path.glob("*.npy"))
        if path.is_dir() and not holds_codes and not holds_arrays:
            return FolderSlices(path, part, size, channels)
        if path.is_file() and path.suffix.lower() == ".npz":
            opened = npz_slices(path, part)
        elif part != "train":
            raise ValueError(f"{path} has no parts; expected them of part={part!r}: leave it out.")
        elif holds_codes:
            opened = CodeSlices(path)
        else:
            opened = npy_folder_slices(path) if path.is_dir() else npy_slices(path)
    if size is not None:
        raise ValueError(
            f"image_size={image_size!r} was given for {name_or_path}; expected it for pictures, in a folder "
            "or in Parquet, only: leave it out."
        )
    return opened


class LoadedSlices(Slices):
    """A data set by name, which fits into memory."""

    def __init__(self, name: str, part: str) -> None:
        images = NAMED[name]()
        self._values, self._labels = (
            (images.x_train, images.y_train) if part == "train" else (images.x_test, images.y_test)
        )
        self.name, self.count, self.grid_shape = name, len(self._values), images.grid_shape
        self.num_levels, self.has_labels = images.num_levels, self._labels is not None
        self.digest = hashlib.sha256(np.ascontiguousarray(self._values).tobytes()).hexdigest()

    def read(self, start: int, stop: int) -> Slice:
        return Slice(self._values[start:stop], None if self._labels is None else self._labels[start:stop])


class CodeSlices(Slices):
    """Codes in shards, of which those are read that a slice lies in."""

    are_codes = True

    def __init__(self, path: Path) -> None:
        codes = ShardedCodes(path)
        self._codes, self.name, self.count = codes, str(path), codes.num_examples
        self.grid_shape, self.num_levels = codes.grid_shape, codes.num_levels
        self.has_labels = "condition" in codes.read(0, 1)
        self.digest = codes.digest()

    def read(self, start: int, stop: int) -> Slice:
        read = self._codes.read(start, stop)
        return Slice(read["values"], read.get("condition"))
