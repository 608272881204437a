"""What counts as image values and labels: checks that name the source and the remedy."""

from typing import Any

import numpy as np


def check_num_levels(num_levels: Any, source: str) -> int:
    """The number of levels as an int of at least 2, or ValueError."""
    whole = isinstance(num_levels, int | np.integer) and not isinstance(num_levels, bool)
    if not whole or not 2 <= num_levels <= 2**31:
        raise ValueError(
            f"num_levels={num_levels!r} of {source} is not a number of levels; expected an integer of at "
            "least 2: 8-bit images have 256."
        )
    return int(num_levels)


def as_values(array: Any, source: str) -> np.ndarray:
    """Integer images (N, H, W, C) from (N, H, W) or (N, H, W, C); ValueError for anything else."""
    values = np.asarray(array)
    if values.dtype.kind == "b":
        values = values.astype(np.uint8)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError(
            f"{source} holds NaN or infinite values; expected integer levels: repair the images before they "
            "are loaded."
        )
    if values.dtype.kind not in "iu":
        raise ValueError(
            f"{source} has dtype {values.dtype}; expected integers: store the levels themselves (uint8 or "
            "int32), not scaled values."
        )
    if values.ndim not in (3, 4):
        raise ValueError(
            f"{source} has shape {values.shape}; expected (N, H, W) or (N, H, W, C): reshape it to a stack "
            "of images."
        )
    if values.size == 0:
        raise ValueError(f"{source} has shape {values.shape}; expected at least one image: add some.")
    if values.min() < 0:
        raise ValueError(
            f"{source} reaches down to {values.min()}; expected levels that start at 0: shift the values."
        )
    return values[..., None] if values.ndim == 3 else values


def fit_levels(values: np.ndarray, num_levels: int, source: str) -> np.ndarray:
    """The values as uint8, or as int32 beyond 256 levels; ValueError for a value beyond the levels."""
    top = int(values.max())
    if top >= num_levels:
        raise ValueError(
            f"{source} reaches up to {top}; expected levels in [0, {num_levels - 1}]: quantize the images or "
            f"pass num_levels={top + 1} or more."
        )
    return np.ascontiguousarray(values, dtype=np.uint8 if num_levels <= 256 else np.int32)


def smallest(values: np.ndarray, num_levels: int) -> np.ndarray:
    """The values in the smallest unsigned type that holds all levels."""
    return values.astype(np.min_scalar_type(num_levels - 1))


def as_labels(array: Any, num_images: int, source: str) -> np.ndarray | None:
    """Class indices (N,) int32 from (N,) or (N, 1), None from None; ValueError for anything else."""
    if array is None:
        return None
    labels = np.asarray(array)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            f"{source} has dtype {labels.dtype} and shape {labels.shape}; expected integer class indices "
            f"({num_images},): store one index for each image, or leave the labels out."
        )
    if len(labels) != num_images:
        raise ValueError(
            f"{source} has {len(labels)} labels; expected {num_images}, one for each image: store images and "
            "labels of the same examples."
        )
    if labels.min() < 0 or labels.max() >= 2**31:
        raise ValueError(
            f"{source} lies in [{labels.min()}, {labels.max()}]; expected class indices that start at 0: "
            "number the classes 0, 1, 2, …"
        )
    return labels.astype(np.int32)
