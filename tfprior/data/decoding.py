"""Image files as arrays, many at a time. Legend: N images, H height, W width."""

import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from .image_file import Picture


def decoded(files: Sequence[Any], decode: Callable[[Any], Picture]) -> list[Picture]:
    """What `decode` makes of each of them, on all cores.

    Raises:
        ValueError: for the first file that is unreadable or no image.
    """
    # Filters of warnings belong to the process, so that threads cannot set their own.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(decode, files))


def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (N, H, W) if all are grey, else (N, H, W, 3)."""
    if any(image.ndim == 3 for image in images):
        images = [np.stack([image] * 3, -1) if image.ndim == 2 else image for image in images]
    return np.stack(images)


def check_alike(
    pictures: Sequence[Picture], paths: Sequence[Path | str], first: Picture, first_path: Path | str
) -> None:
    """Raises ValueError for a picture of another size or another number of levels than the first one."""
    for picture, path in zip(pictures, paths, strict=True):
        here, there = picture.values.shape[:2], first.values.shape[:2]
        if here != there:
            raise ValueError(
                f"{path} is {here[0]}×{here[1]} where {first_path} is {there[0]}×{there[1]} (height×width); "
                "expected images of one size: pass image_size= to crop and resize them."
            )
        if picture.num_levels != first.num_levels:
            raise ValueError(
                f"{path} has {picture.num_levels} levels where {first_path} has {first.num_levels}; expected "
                "8 or 16 bits in all images: convert the one or the other."
            )
