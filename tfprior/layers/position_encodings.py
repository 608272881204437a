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
