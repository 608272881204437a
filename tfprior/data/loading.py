"""One door to all data sets."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .downloaded import CLASS_NAMES, downloaded
from .embedded import digits, photos
from .folder import read_folder
from .images import Images
from .levels import check_num_levels
from .npz import read_npz

NAMED: dict[str, Callable[[int | None], Images]] = {
    "digits": digits,
    "photos": photos,
    **{name: functools.partial(downloaded, name) for name in CLASS_NAMES},
}


def load(
    name_or_path: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    num_levels: int | None = None,
) -> Images:
    """A data set by name, or from an .npz file or a folder of images.

    Args:
        name_or_path: `digits`, `photos`, `mnist`, `fashion_mnist`, `cifar10`, a path that ends in `.npz`, or
            a folder. A folder named like a data set is reached as `./digits`.
        image_size: H = W, or (H, W), to which the images of a folder are cropped and resized.
        num_levels: the number of levels, where the source does not tell it or tells too few.

    Raises:
        FileNotFoundError: if the file is missing or a download fails.
        ValueError: for an unknown name, an unreadable file, or data that are not integer images.
    """
    if num_levels is not None:
        num_levels = check_num_levels(num_levels, str(name_or_path))
    size = None if image_size is None else _check_image_size(image_size)
    named = NAMED.get(name_or_path) if isinstance(name_or_path, str) else None
    path = Path(name_or_path).expanduser()
    if named is None:
        _check_path(path, name_or_path)
        if path.is_dir():
            return read_folder(path, size, num_levels)
    if size is not None:
        raise ValueError(
            f"image_size={image_size!r} was given for {name_or_path}; expected it for a folder of images "
            "only: leave it out."
        )
    return read_npz(path, num_levels) if named is None else named(num_levels)


def _check_image_size(image_size: Any) -> tuple[int, int]:
    size = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(size) != 2 or not all(isinstance(side, int | np.integer) and side > 0 for side in size):
        raise ValueError(
            f"image_size={image_size!r} is not a size; expected a positive integer or (height, width): "
            "for example 32 or (32, 48)."
        )
    return int(size[0]), int(size[1])


def _check_path(path: Path, given: str | os.PathLike[str]) -> None:
    expected = f"expected one of {', '.join(NAMED)}, an .npz file or a folder of images"
    if given == "" or (path.name == given and not path.suffix and not path.exists()):
        raise ValueError(f"{given!r} is not a known data set; {expected}: check the name.")
    if not path.exists():
        raise FileNotFoundError(f"{given} does not exist; {expected}: check the path.")
    if not path.is_dir() and path.suffix.lower() != ".npz":
        raise ValueError(f"{given} is not a file of images; {expected}: save the images as an .npz file.")
