"""The masked convolution of PixelRNN/PixelCNN (van den Oord et al. 2016, arXiv:1601.06759)."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.inputs import odd_kernel_size
from tfprior.layers.masks import MaskType, channel_mask, check_groups, check_mask_options
from tfprior.layers.streaming import StateSpec, convolve_pixel, convolve_row, push_pixel, push_row


@keras.saving.register_keras_serializable("tfprior")
class MaskedConv2D(keras.layers.Layer):
    """k×k convolution that sees the rows above and the pixels to the left, channels in RGB order.

    (B, H, W, C) → (B, H, W, filters). For k = 5:

        1 1 1 1 1
        1 1 1 1 1      c: type A shows an output group the input groups before it,
        1 1 c . .         type B its own group too (see `channel_mask`)
        . . . . .
        . . . . .

    The mask multiplies the kernel in every call, so no optimizer step or loaded weight can break causality.

    Streaming: `row_step` runs one whole row from the rows above it; `above` is the part of the next row that
    those rows give already, and `pixel_step` adds the rest pixel by pixel, or `own_row` all at once. An
    ungrouped type A layer sees nothing of its own pixel, so its `pixel_step` has a latency of 1.

    Raises:
        ValueError: for an even kernel size, an unknown mask type, or channels that do not split into groups.
    """

    def __init__(
        self, filters: int, kernel_size: int, mask_type: MaskType, groups: int = 1, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_mask_options(mask_type, filters, groups, type(self).__name__)
        kernel_size = odd_kernel_size(type(self).__name__, kernel_size)
        self.filters = filters
        self.kernel_size = kernel_size
        self.mask_type = mask_type
        self.groups = groups
        self.latency = int(mask_type == "A" and groups == 1)
        self.taps = kernel_size // 2 + 1 - self.latency

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        check_groups("input channels", channels, self.groups, type(self).__name__)
        size, half = self.kernel_size, self.kernel_size // 2
        shape = (size, size, channels, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self._mask = np.zeros(shape, "float32")
        self._mask[:half] = 1
        self._mask[half, :half] = 1
        self._mask[half, half] = channel_mask(self.mask_type, channels, self.filters, self.groups)
        self.built = True

    def _masked_kernel(self) -> Any:
        return ops.cast(self.kernel, self.compute_dtype) * ops.cast(self._mask, self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        y = ops.conv(inputs, self._masked_kernel(), padding="same", data_format="channels_last")
        return y + ops.cast(self.bias, self.compute_dtype)

    def row_spec(self, width: int) -> StateSpec:
        """(k // 2, W, C): the rows above."""
        return StateSpec((self.kernel_size // 2, width, self.kernel.shape[2]), self.compute_dtype)

    def row_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One whole row: (B, W, C) → (B, W, filters), with the next state."""
        window, state = push_row(state, x)
        y = convolve_row(window, self._masked_kernel()[: self.kernel_size // 2 + 1])
        return y + ops.cast(self.bias, self.compute_dtype), state

    def above(self, state: Any) -> Any:
        """What the rows above contribute to the row after them: (B, k // 2, W, C) → (B, W, filters)."""
        return convolve_row(state, self._masked_kernel()[: self.kernel_size // 2])

    def own_row(self, x: Any, state: None = None) -> tuple[Any, None]:
        """What the current row contributes at all its pixels: (B, W, C) → (B, W, filters), and no state."""
        half = self.kernel_size // 2
        y = convolve_row(x[:, None], self._masked_kernel()[half : half + 1])
        return y + ops.cast(self.bias, self.compute_dtype), None

    def pixel_spec(self) -> StateSpec | None:
        """((taps − 1) · C,): the pixels to the left; None for a single tap."""
        if self.taps == 1:
            return None
        return StateSpec(((self.taps - 1) * self.kernel.shape[2],), self.compute_dtype)

    def pixel_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """What the current row contributes at one pixel: (B, C) → (B, filters), with the next state."""
        window, state = push_pixel(state, x)
        y = convolve_pixel(window, self._masked_kernel()[self.kernel_size // 2, : self.taps])
        return y + ops.cast(self.bias, self.compute_dtype), state

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "mask_type": self.mask_type,
            "groups": self.groups,
        }
