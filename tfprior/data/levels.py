"""What counts as image values and labels: checks that name the source and the remedy.

Legend: N images, H height, W width, C channels.
"""

from typing import Any

import numpy as np

from tfprior.inputs import is_integer

from .stored import StoredArray

MAX_LEVELS = 2**18  # of an image or a codebook; each may cost a row of weights
MAX_CLASSES = 2**16
MOST_CHANNELS = 4


def check_num_levels(num_levels: Any, source: str) -> int:
    """The number of levels as an int from 2 to 2¹⁸, or ValueError."""
    if not is_integer(num_levels) or not 2 <= num_levels <= MAX_LEVELS:
        raise ValueError(
            f"num_levels={num_levels!r} of {source} is not a number of levels; expected an integer "
            f"from 2 to {MAX_LEVELS}: 8-bit images have 256."
        )
    return int(num_levels)


def as_values(array: Any, source: str) -> Any:
    """Integer images (N, H, W, C) from (N, H, W) or (N, H, W, C); ValueError for anything else."""
    if isinstance(array, StoredArray):  # checked when it was made
        return array
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
            f"{source} has dtype {values.dtype}; expected integers: {_remedy_of_scaled(values)}."
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


def _remedy_of_scaled(values: np.ndarray) -> str:
    """How values that are no integers become levels."""
    if values.dtype.kind != "f" or values.size == 0:
        return "store the levels themselves (uint8 or int32), not scaled values"
    low, high = float(values.min()), float(values.max())
    range_ = f"these lie in [{low:.4g}, {high:.4g}], so store"
    if (values == np.rint(values)).all():
        return f'{range_} x.astype("int32"), if they are levels'
    if low >= 0 and high <= 1:
        return f'{range_} np.round(x * 255).astype("uint8")'
    if low >= -1 and high <= 1:
        return f'{range_} np.round((x + 1) * 127.5).astype("uint8")'
    return f"{range_} levels (uint8 or int32), not scaled values"


def check_channels_last(values: np.ndarray, source: str) -> None:
    """Raises ValueError for images that are plainly (N, C, H, W)."""
    channels, height, width = values.shape[1:]
    if channels in (1, 3, 4) and min(height, width) > MOST_CHANNELS:
        raise ValueError(
            f"{source} has shape {values.shape}, channels first; expected (N, H, W, C): pass "
            "np.moveaxis(x, 1, -1)."
        )


def fit_levels(values: Any, num_levels: int, source: str) -> Any:
    """The values as uint8, or as int32 beyond 256 levels; ValueError for a value beyond the levels."""
    top = int(values.max())
    if top >= MAX_LEVELS:
        raise ValueError(
            f"{source} reaches up to {top}; expected levels below {MAX_LEVELS}: quantize the values."
        )
    if top >= num_levels:
        raise ValueError(
            f"{source} reaches up to {top}; expected levels in [0, {num_levels - 1}]: quantize the images or "
            f"pass num_levels={top + 1} or more."
        )
    dtype = np.uint8 if num_levels <= 256 else np.int32
    if isinstance(values, StoredArray):
        return values.astype(dtype)
    return np.ascontiguousarray(values, dtype=dtype)


def quantized(values: Any, num_levels: int, fewer: int) -> Any:
    """Level v of `num_levels` → floor(v · fewer / num_levels): as many neighbours as can be share a level."""
    table = (np.arange(num_levels) * fewer // num_levels).astype(np.min_scalar_type(fewer - 1))
    return values.looked_up(table) if isinstance(values, StoredArray) else table[values]


def smallest(values: Any, num_levels: int) -> np.ndarray:
    """The values in the smallest unsigned type that holds all levels."""
    return np.asarray(values).astype(np.min_scalar_type(num_levels - 1))


def as_coarser(array: Any, num_images: int, source: str) -> np.ndarray:
    """Codes (N, h, w, G) that finer ones are conditioned on; ValueError for anything else."""
    codes = np.asarray(array)
    if codes.dtype.kind not in "iu" or codes.ndim != 4 or len(codes) != num_images or not codes.size:
        raise ValueError(
            f"{source} has dtype {codes.dtype} and shape {codes.shape}; expected codes ({num_images}, h, w, "
            "G) of the coarser grid: encode the images again."
        )
    return codes


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
    if labels.min() < 0 or labels.max() >= MAX_CLASSES:
        raise ValueError(
            f"{source} lies in [{labels.min()}, {labels.max()}]; expected class indices from 0 to at most "
            f"{MAX_CLASSES - 1}: number the classes 0, 1, 2, and so on."
        )
    return labels.astype(np.int32)
