"""Images of which a part is hidden, as a tokenizer and the priors of its codes see them; NumPy alone.

Shapes: N images · H W C · h w grid of codes.
"""

import numpy as np


def mean_filled(known: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Images (N, H, W, C) int32 with each hidden pixel (N, H, W) as the mean of the known ones."""
    hidden = hidden[..., None]
    seen = np.maximum((~hidden).sum((1, 2), keepdims=True), 1)
    means = np.where(hidden, 0, known).sum((1, 2), keepdims=True) / seen
    return np.where(hidden, np.rint(means).astype("int32"), known)


def coarsened(hidden: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """True where any pixel of a block is hidden: (N, H, W) → (N, h, w)."""
    count, height, width = hidden.shape
    blocks = hidden.reshape(count, grid[0], height // grid[0], grid[1], width // grid[1])
    return np.asarray(blocks.any((2, 4)))
