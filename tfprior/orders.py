"""Orders in which the positions of a grid may be drawn: permutations of 0 … P − 1, y · W + x.

Shapes: B batch · H W grid · P = H · W positions · K orders.
"""

from typing import Any, Literal

import numpy as np

from tfprior.inputs import is_integer

OrderName = Literal["raster", "halton"]
ORDERS = ("raster", "halton")


def raster(height: int, width: int) -> np.ndarray:
    """Row by row, each from left to right: (P,)."""
    return np.arange(height * width, dtype="int32")


def halton(height: int, width: int) -> np.ndarray:
    """The order in which the 2-D Halton sequence (bases 2 and 3) first visits the positions: (P,).

    It spreads over the grid: what is drawn early tells something of every part (Besnier et al. 2025,
    arXiv:2503.17076).
    """
    seen: dict[int, None] = {}
    index = 0
    while len(seen) < height * width:
        index += 1
        y, x = int(radical_inverse(index, 2) * height), int(radical_inverse(index, 3) * width)
        seen.setdefault(y * width + x)
    return np.fromiter(seen, "int32")


def radical_inverse(index: int, base: int) -> float:
    """The digits of a number in that base, mirrored at the point."""
    value, scale = 0.0, 1.0
    while index:
        index, digit = divmod(index, base)
        scale /= base
        value += digit * scale
    return value


def order_of(order: Any, grid_shape: tuple[int, int, int], count: int | None = None) -> np.ndarray:
    """An order by name, or positions (P,), or of `count` examples (B, P), as int32.

    Raises:
        ValueError: for an unknown name, and for what is no permutation of the positions.
    """
    height, width, _ = grid_shape
    if isinstance(order, str):
        named = {"raster": raster, "halton": halton}
        if order not in named:
            raise ValueError(f"Unknown order {order!r}; expected raster, halton, or an array of positions.")
        return named[order](height, width)
    array, places = np.asarray(order), raster(height, width)
    shapes = [places.shape, *([] if count is None else [(count, len(places))])]
    if array.dtype.kind not in "iu" or array.shape not in shapes:
        raise ValueError(
            f"The order is {array.dtype} of shape {array.shape}; expected integers of shape "
            f"{' or '.join(map(str, shapes))}: each position y · {width} + x once."
        )
    if (np.sort(array, axis=-1) != places).any():
        raise ValueError(
            f"The order is no permutation of 0 … {len(places) - 1}; expected each position once: "
            "np.random.default_rng(0).permutation of them, for example."
        )
    return array.astype("int32")


def declared_orders(count: int, grid_shape: tuple[int, int, int]) -> np.ndarray:
    """The first `count` of a fixed list: raster, Halton, then permutations by seeds 2, 3, …: (K, P).

    Raises:
        ValueError: for a number below 1.
    """
    if not is_integer(count) or count < 1:
        raise ValueError(f"orders={count!r}; expected a positive number of them.")
    height, width, _ = grid_shape
    drawn = [np.random.default_rng(seed).permutation(height * width) for seed in range(2, count)]
    return np.stack([raster(height, width), halton(height, width), *drawn])[:count].astype("int32")


def known_first(order: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """An order (P,) or (B, P) with what is known, not hidden (B, P), moved to the front: (B, P)."""
    order = np.broadcast_to(order, hidden.shape)
    later = np.take_along_axis(hidden, order, axis=1)
    return np.take_along_axis(order, np.argsort(later, axis=1, kind="stable"), axis=1)
