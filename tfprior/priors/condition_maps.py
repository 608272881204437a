"""The features of a condition at lower resolutions: maps averaged, everything else as it is.

Shapes: B batch · H W grid · D features.
"""

from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.streaming import select


def pooled(condition: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """A condition's features (B, 1 or H, 1 or W, D), maps averaged to `size`."""
    if condition is None or condition.shape[1] in (1, size[0]):
        return condition
    return ops.mean(_blocks(condition, condition.shape[1] // size[0]), axis=(2, 4))


def pooled_row(condition: Tensor | None, scale: int, y: Tensor) -> Tensor | None:
    """The row of the pooled condition that row y (B,) of the grid lies in: (B, 1 or W / scale, D)."""
    if condition is None or condition.shape[1] == 1:
        return None if condition is None else condition[:, 0]
    return ops.mean(select(_blocks(condition, scale), y // scale), axis=(1, 3))


def _blocks(maps: Tensor, scale: int) -> Tensor:
    """(B, H, W, D) → (B, H / scale, scale, W / scale, scale, D)."""
    height, width, size = maps.shape[1:]
    return ops.reshape(maps, (-1, height // scale, scale, width // scale, scale, size))
