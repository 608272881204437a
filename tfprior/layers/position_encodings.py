"""How tokens tell where they stand: numbers that are added to them, or turns of their queries and keys.

Shapes: N places · D features · d features of a head.
"""

from typing import Any

import numpy as np
from keras import ops

from tfprior.layers.key_value_cache import Rotation


def sinusoidal(length: int, features: int) -> np.ndarray:
    """sin and cos by turns, of wavelengths from 2π to 20 000π (Vaswani et al. 2017): (N, D) float32.

    Raises:
        ValueError: for an odd number of features.
    """
    if features % 2:
        raise ValueError(f"Got tokens of {features} features; expected an even number of them.")
    return interleaved(angles(np.arange(length), features // 2))


def angles(places: np.ndarray, count: int) -> np.ndarray:
    """Places (N,) times `count` frequencies from 1 down to 1 / 10 000: (N, count)."""
    return places[:, None] * 10_000.0 ** (-np.arange(count) / count)


def interleaved(turns: np.ndarray) -> np.ndarray:
    """(N, D / 2) → sin and cos of each, side by side: (N, D)."""
    return np.stack([np.sin(turns), np.cos(turns)], -1).reshape(len(turns), -1).astype("float32")


def sin_cos_2d(height: int, width: int, features: int) -> np.ndarray:
    """Positions of a map in raster order, as in MAE (He et al. 2021, arXiv:2111.06377): (N, D) float32.

    One half of the features is sin, then cos of the column, the other half of the row.

    Raises:
        ValueError: for a number of features that is no multiple of four.
    """
    if features % 4:
        raise ValueError(f"Got tokens of {features} features; expected a multiple of 4 for 2-D positions.")
    rows, columns = np.indices((height, width)).reshape(2, -1)
    turns = [angles(axis, features // 4) for axis in (columns, rows)]
    return np.concatenate([wave(turn) for turn in turns for wave in (np.sin, np.cos)], -1).astype("float32")


def resized(table: np.ndarray, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
    """Positions of a map (h · w, D) for a map of another size (h′ · w′, D), by bicubic interpolation."""
    down, right = (_cubic(size, new) for size, new in zip(before, after, strict=True))
    maps = np.tensordot(down, table.reshape(*before, -1), 1)  # (h′, w, D)
    return np.einsum("vw,hwd->hvd", right, maps).reshape(-1, table.shape[-1]).astype("float32")


def _cubic(before: int, after: int) -> np.ndarray:
    """Keys's cubic interpolation with a = −3 / 4, as PyTorch has it: (after, before)."""
    centres = (np.arange(after) + 0.5) * before / after - 0.5
    nearest = np.floor(centres)[:, None] + np.arange(-1, 3)  # (after, 4)
    far = np.abs(centres[:, None] - nearest)
    near_part = 1.25 * far**3 - 2.25 * far**2 + 1
    far_part = -0.75 * (far**3 - 5 * far**2 + 8 * far - 4)
    weights = np.zeros((after, before))
    index = np.clip(nearest, 0, before - 1).astype(int)
    np.add.at(weights, (np.arange(after)[:, None], index), np.where(far <= 1, near_part, far_part))
    return weights


class AxialRotary:
    """Turns half of a head's features by the row of a token and half by its column (Su et al. 2021).

    Queries and keys turned alike (arXiv:2104.09864, here in two dimensions) score each other by how far
    the key stands above and to the left.

    Args:
        rows, columns: of the tokens in their order, (N,).
        head_dim: features of a head, a multiple of four.

    Raises:
        ValueError: for another number of features.
    """

    def __init__(self, rows: np.ndarray, columns: np.ndarray, head_dim: int) -> None:
        if head_dim % 4:
            raise ValueError(
                f"Got heads of {head_dim} features; expected a multiple of 4 for rotary positions."
            )
        turns = np.concatenate([angles(axis, head_dim // 4) for axis in (rows, columns)], axis=-1)
        turns = np.concatenate([turns, turns], axis=-1)  # (N, d): feature i and i + d / 2 are a pair
        self.cos, self.sin = np.cos(turns).astype("float32"), np.sin(turns).astype("float32")

    def at(self, places: Any) -> Rotation:
        """The turn of tokens at places (T,) or (B, T)."""
        cos, sin = (ops.expand_dims(ops.take(table, places, axis=0), -3) for table in (self.cos, self.sin))

        def turned(x: Any) -> Any:
            first, second = ops.split(x, 2, axis=-1)
            crossed = ops.concatenate([-second, first], axis=-1)
            return x * ops.cast(cos, x.dtype) + crossed * ops.cast(sin, x.dtype)

        return turned
