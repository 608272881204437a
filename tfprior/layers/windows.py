"""Windows of a map (Liu et al. 2021, "Swin Transformer", arXiv:2103.14030).

Windows of side 2 on a map of 4 × 4, as they are, shifted by 1, and these rolled up and to the left:

    a a b b      e f f g      i i j h
    a a b b      h i i j      i i j h
    c c d d      h i i j      l l m k
    c c d d      k l l m      f f g e

A rolled map is cut like any other, into as many windows: what was cut off at one side stands beside what was
cut off at the other, and a mask keeps them from seeing each other.
Maps that windows do not divide are padded below and to the right, and the padding is hidden too.

Shapes: B batch · H W map · N = H · W tokens · D features · G windows · n = window_size² tokens of a window.
"""

from typing import Any

import numpy as np
from keras import ops

from tfprior.inputs import check_sizes
from tfprior.layers.key_value_cache import HIDDEN


class Windows:
    """Cuts the tokens of a map into windows, and puts them together again.

    Args:
        map_size: (H, W). Where one of them is no larger than a window, windows are as large as it and do not
            shift.
        window_size: side of a window.
        shift: by which windows stand further down and to the right.

    Attributes:
        index: by which pairs of a window's tokens look up their bias, (n, n); see `relative_positions`.
        mask: hides from tokens what is not of their window, (G, 1, n, n); None where nothing is to be hidden.

    Raises:
        ValueError: for a shift that is not smaller than the window.
    """

    def __init__(self, map_size: tuple[int, int], window_size: int, shift: int = 0) -> None:
        check_sizes("Windows", height=map_size[0], width=map_size[1], window_size=window_size)
        if not 0 <= shift < window_size:
            raise ValueError(f"Got shift={shift} for window_size={window_size}; expected less, from 0 up.")
        fits = min(map_size) <= window_size
        self.map_size = map_size
        self.side = min(map_size) if fits else window_size
        self.shift = 0 if fits else shift
        self.padded = tuple(-(-size // self.side) * self.side for size in map_size)
        rows, columns = np.indices((self.side, self.side)).reshape(2, -1)
        self.index = relative_positions(rows, columns, window_size)
        self.mask = self._mask()

    def window_of(self, rows: Any, columns: Any) -> Any:
        """The windows that cells of the map are in, by number, those that are cut off too."""
        across = self.padded[1] // self.side + 1
        down, right = ((cells + self._ahead) // self.side for cells in (rows, columns))
        return down * across + right

    def place_of(self, rows: Any, columns: Any) -> tuple[Any, Any]:
        """Where in their windows cells of the map stand: rows and columns from 0 up."""
        return (rows + self._ahead) % self.side, (columns + self._ahead) % self.side

    @property
    def _ahead(self) -> int:
        """Rows of the first window that are cut off."""
        return (self.side - self.shift) % self.side

    def split(self, x: Any) -> Any:
        """Tokens in raster order (B, N, D) → those of each window (B, G, n, D)."""
        (height, width), side, features = self.map_size, self.side, x.shape[-1]
        x = ops.reshape(x, (-1, height, width, features))
        if self.padded != self.map_size:
            below, right = (big - size for big, size in zip(self.padded, self.map_size, strict=True))
            x = ops.pad(x, ((0, 0), (0, below), (0, right), (0, 0)))
        x = rolled(x, self.shift)
        down, across = (size // side for size in self.padded)
        x = ops.reshape(x, (-1, down, side, across, side, features))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, down * across, side * side, features))

    def join(self, x: Any) -> Any:
        """(B, G, n, D) → (B, N, D): undoes `split`."""
        (height, width), side, features = self.map_size, self.side, x.shape[-1]
        down, across = (size // side for size in self.padded)
        x = ops.reshape(x, (-1, down, across, side, side, features))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        x = rolled(ops.reshape(x, (-1, *self.padded, features)), -self.shift)
        return ops.reshape(x[:, :height, :width], (-1, height * width, features))

    def _mask(self) -> np.ndarray | None:
        cells = np.indices(self.padded)
        is_real = (cells[0] < self.map_size[0]) & (cells[1] < self.map_size[1])
        window, is_real = (self._cut(each) for each in (self.window_of(*cells), is_real))
        is_seen = window[:, :, None] == window[:, None, :]
        # Padding sees what it likes: a query that saw nothing would have no softmax.
        is_seen &= is_real[:, None, :] | ~is_real[:, :, None]
        return None if is_seen.all() else np.where(is_seen, np.float32(0), HIDDEN)[:, None]

    def _cut(self, cells: np.ndarray) -> np.ndarray:
        """A padded map → (G, n)."""
        side = self.side
        cells = np.roll(cells, (-self.shift, -self.shift), axis=(0, 1))
        cells = cells.reshape(self.padded[0] // side, side, self.padded[1] // side, side)
        return cells.transpose(0, 2, 1, 3).reshape(-1, side * side)


def rolled(x: Any, by: int) -> Any:
    """Maps (B, H, W, D) rolled up and to the left: by slices, as few runtimes have what Keras rolls by."""
    if by:
        x = ops.concatenate([x[:, by:], x[:, :by]], axis=1)
        x = ops.concatenate([x[:, :, by:], x[:, :, :by]], axis=2)
    return x


class OverWindows:
    """Applies attention to each window of a map by itself, with a bias (h, n, n) or (G, h, n, n)."""

    def __init__(self, windows: Windows, bias: Any = None) -> None:
        self.windows, self.bias = windows, bias

    def __call__(self, attention: Any, x: Any) -> Any:
        return self.windows.join(attention(self.windows.split(x), bias=self.bias))


def relative_positions(rows: Any, columns: Any, window_size: int) -> Any:
    """How far each token (…, n) stands below and to the right of each other one, as one number (…, n, n).

    Both distances lie between −(window_size − 1) and window_size − 1, the columns' counting first.
    """
    span = 2 * window_size - 1
    down, right = (cells[..., :, None] - cells[..., None, :] + window_size - 1 for cells in (rows, columns))
    return down * span + right
