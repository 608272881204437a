"""Shifted convolutions of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

Shapes: B batch · H W grid · C channels in · F filters · kh, kw kernel.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.layers.streaming import (
    Apply,
    StateSpec,
    convolve_pixel,
    convolve_row,
    project,
    push_pixel,
    push_row,
)
from tfprior.layers.weight_norm import WeightNormalized

Direction = Literal["down", "down_right"]


def check_direction(direction: Any, name: str) -> None:
    if direction not in ("down", "down_right"):
        raise ValueError(f"{name} got direction={direction!r}; expected 'down' or 'down_right'.")


def moved_down(apply: Apply, layer: keras.layers.Layer, x: Any) -> Any:
    """The layer's outputs moved down by one row; the first row is zeros, without the bias: (B, H, W, ·)."""
    if x.shape[1] == 1:
        return 0.0 * apply(layer, x)
    # What moves out of the image is cut off before the layer, where no gradient has to pass.
    return ops.pad(apply(layer, x[:, :-1]), ((0, 0), (1, 0), (0, 0), (0, 0)))


def moved_right(apply: Apply, layer: keras.layers.Layer, x: Any) -> Any:
    """The layer's outputs moved right by one column; the first column is zeros: (B, H, W, ·)."""
    if x.shape[2] == 1:
        return 0.0 * apply(layer, x)
    return ops.pad(apply(layer, x[:, :, :-1]), ((0, 0), (0, 0), (1, 0), (0, 0)))


def shift_right(x: Any) -> Any:
    """Moves a row's pixels right by one; the first one is zeros: (B, W, C)."""
    return ops.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))


@keras.saving.register_keras_serializable("tfprior")
class ShiftedConv2D(WeightNormalized):
    """A convolution whose kernel hangs above its output pixel `o`, or above it and to its left.

        direction="down", 2×3      direction="down_right", 2×2
            x x x                      x x
            x o x                      x o

    (B, H, W, C) → (B, H / strides, W / strides, filters). With strides 2 output i of a kernel of two rows
    looks at rows 2i − 1 and 2i, so that it can run as soon as row (pixel) 2i is there.

    Streaming, by rows: `row_step` runs one row from the rows above it. By pixels: `above` is what the rows
    above give to a row, `pixel_step` adds what its own pixels give, and `own_row` does so for all of
    them at once.

    Raises:
        ValueError: for an unknown direction, an even width of a kernel that looks down, other strides than
            1 or 2, and options out of range.
    """

    latency = 0

    def __init__(
        self,
        filters: int,
        kernel_size: tuple[int, int],
        direction: Direction,
        strides: int = 1,
        weight_norm: bool = True,
        init_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, weight_norm, init_scale, **kwargs)
        name = type(self).__name__
        check_direction(direction, name)
        height, width = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        if height < 1 or width < 1 or (direction == "down" and width % 2 == 0):
            raise ValueError(
                f"{name} got kernel_size={kernel_size}; expected positive numbers, the second one odd for "
                "direction='down'."
            )
        if strides not in (1, 2) or (strides == 2 and height < 2):
            raise ValueError(
                f"{name} got strides={strides}; expected 1, or 2 with a kernel of two rows or more."
            )
        self.kernel_size = (height, width)
        self.direction = direction
        self.strides = strides
        self.columns = (width // 2, width // 2) if direction == "down" else (width - 1, 0)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel(*self.kernel_size, input_shape[-1])
        self.built = True

    def linear(self, x: Any, kernel: Any) -> Any:
        x = ops.pad(x, ((0, 0), (self.kernel_size[0] - 1, 0), self.columns, (0, 0)))
        return ops.conv(x, kernel, self.strides, padding="valid", data_format="channels_last")

    def row_spec(self, width: int) -> StateSpec | None:
        """(kh − 1, W, C): the rows above; None for a kernel of one row."""
        height, channels = self.kernel_size[0], self.kernel.shape[2]
        return None if height == 1 else StateSpec((height - 1, width, channels), self.compute_dtype)

    def row_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One row (B, W, C) → (B, W / strides, filters), with the next state."""
        window, state = push_row(state, x)
        return self.shift(convolve_row(window, self.effective_kernel(), self.columns, self.strides)), state

    def above(self, state: Any) -> Any:
        """What the rows above (B, kh − 1, W, C) give to the row after them: (B, W / strides, filters)."""
        return convolve_row(state, self.effective_kernel()[:-1], self.columns, self.strides)

    def own_row(self, x: Any, state: Any) -> tuple[Any, Any]:
        """What a whole row (B, W, C) gives to its outputs (B, W / strides, filters), with the next state."""
        _, state = push_row(state, x)
        own = convolve_row(ops.expand_dims(x, 1), self.effective_kernel()[-1:], self.columns, self.strides)
        return self.shift(own), state

    def pixel_spec(self) -> StateSpec | None:
        """((kw − 1) · C,): the pixels to the left; None for a kernel of one column."""
        width, channels = self.kernel_size[1], self.kernel.shape[2]
        return None if width == 1 else StateSpec(((width - 1) * channels,), self.compute_dtype)

    def pixel_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """What a pixel (B, C) and those to its left give to its output (B, filters), with the next state."""
        window, state = push_pixel(state, x)
        return self.shift(convolve_pixel(window, self.effective_kernel()[-1])), state

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, *grid, _ = input_shape
        return (batch, *(size and -(-size // self.strides) for size in grid), self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "direction": self.direction,
            "strides": self.strides,
        }


@keras.saving.register_keras_serializable("tfprior")
class ShiftedConv2DTranspose(WeightNormalized):
    """The way back from strides 2: every input pixel gives the four below it, or reaches to their left too.

        direction="down", 2×3: columns       direction="down_right", 2×2
            2j − 1 · 2j · 2j + 1                 2j · 2j + 1               of rows 2i and 2i + 1

    (B, H, W, C) → (B, 2H, 2W, filters). Streaming: one row gives two (`two_rows`), one pixel the first
    two of its four (`two_pixels`).

    Raises:
        ValueError: for an unknown direction, and options out of range.
    """

    def __init__(
        self,
        filters: int,
        direction: Direction,
        weight_norm: bool = True,
        init_scale: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(filters, weight_norm, init_scale, **kwargs)
        check_direction(direction, type(self).__name__)
        self.direction = direction

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel(2, 3 if self.direction == "down" else 2, input_shape[-1])
        self.built = True

    def linear(self, x: Any, kernel: Any) -> Any:
        height, width, channels = x.shape[1:]
        rows = self._two_rows(ops.reshape(x, (-1, width, channels)), kernel)
        return ops.reshape(rows, (-1, 2 * height, 2 * width, self.filters))

    def two_rows(self, x: Any) -> Any:
        """One row (B, W, C) → the two it gives (B, 2, 2W, filters)."""
        return self.shift(self._two_rows(x, self.effective_kernel()))

    def _two_rows(self, x: Any, kernel: Any) -> Any:
        rows, columns, channels, filters = kernel.shape
        width = x.shape[1]
        flat = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (channels, rows * columns * filters))
        taps = ops.reshape(project(x, flat), (-1, width, rows, columns, filters))
        if self.direction == "down":
            # Column 2j + 1 takes the last tap of pixel j and the first one of pixel j + 1.
            left, even, right = ops.split(taps, 3, axis=3)
            odd = right + ops.pad(left[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0), (0, 0)))
            taps = ops.concatenate([even, odd], axis=3)
        return ops.reshape(ops.transpose(taps, (0, 2, 1, 3, 4)), (-1, rows, 2 * width, filters))

    def two_pixels(self, x: Any) -> Any:
        """One pixel (B, C) → the two in the first of its rows, side by side (B, 2 · filters).

        Raises:
            ValueError: where the direction is "down": its pixels need the next one.
        """
        if self.direction == "down":
            raise ValueError("two_pixels of direction='down' would need the pixel to the right.")
        kernel = self.effective_kernel()
        return ops.concatenate([self.shift(project(x, kernel[0, column])) for column in (0, 1)], axis=1)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, *grid, _ = input_shape
        return (batch, *(size and 2 * size for size in grid), self.filters)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "direction": self.direction}
