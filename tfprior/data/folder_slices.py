"""Slices of a folder of image files, by the sorted list of their names."""

from pathlib import Path
from typing import Any

import numpy as np

from .folder import labels_of, read_pictures
from .folder_files import find_files
from .image_file import read_image
from .slices import Slice, Slices, digest_of_files


class FolderSlices(Slices):
    """The images of a part of a folder; see `read_folder`, whose order they have.

    Args:
        folder: of images.
        part: "train" or "test"; a folder without parts is all "train".
        image_size: (H, W) that they are cropped and resized to.
        channels: 3 has grey images as RGB, which `read_folder` does where others have colour.

    Raises:
        ValueError: as `read_folder`, and where there is no such part.
    """

    def __init__(self, folder: Path, part: str, image_size: tuple[int, int] | None, channels: int) -> None:
        train, test, names = find_files(folder)
        found = train if part == "train" else test
        if not found:
            raise ValueError(
                f"{folder} has no {part} part; expected a subfolder of that name: choose another."
            )
        self.name, self.count, self.has_labels = str(folder), len(found), names is not None
        self._paths, self._labels = [item.path for item in found], labels_of(found, names)
        self._image_size, self._channels = image_size, channels
        first = read_image(self._paths[0], image_size)
        height, width = first.values.shape[:2]
        self.grid_shape = (height, width, max(channels, 1 if first.values.ndim == 2 else 3))
        self.num_levels = first.num_levels
        self.digest = digest_of_files(self._paths, folder)

    def read(self, start: int, stop: int) -> Slice:
        values, num_levels = read_pictures(self._paths[start:stop], self._image_size)
        if values.shape[-1] < self._channels:
            values = np.repeat(values, self._channels, axis=-1)
        here, there = (values.shape[1:], num_levels), (self.grid_shape, self.num_levels)
        check_same_grids(here, there, self._paths[start], self._paths[0])
        return Slice(values, None if self._labels is None else self._labels[start:stop].astype("int32"))


def check_same_grids(
    here: tuple[Any, int | None], there: tuple[Any, int | None], name: Path | str, first_name: Path | str
) -> None:
    """Raises ValueError for images of other (grid, number of levels) than the first one."""
    if here != there:
        raise ValueError(
            f"{name} and those after it have grids {here[0]} of {here[1]} levels where {first_name} has "
            f"{there[0]} of {there[1]}; expected images of one kind: pass image_size= to crop and resize "
            "them, or convert them."
        )
