"""Causal convolutions of the Gated PixelCNN: the two halves that see no blind spot between them."""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.inputs import odd_kernel_size
from tfprior.layers.masks import MaskType, channel_mask, check_groups, check_mask_options
from tfprior.layers.streaming import StateSpec, convolve_pixel, convolve_row, push_pixel, push_row


@keras.saving.register_keras_serializable("tfprior")
class CausalConv2D(keras.layers.Layer):
    """Half of a k×k masked convolution, stored without its zeros: the rows above, or the pixels to the left.

    (B, H, W, C) → (B, H, W, filters). For k = 5, `o` being the output pixel:

        axis="rows"                axis="columns"
        type A      type B         type A      type B
        x x x x x   x x x x x
        x x x x x   x x x x x
            o       x x o x x      x x o       x x ⊗

    Type A excludes the output's own row (pixel). With channel groups a type A layer along columns does
    see the earlier groups of its own pixel (R → G → B), so its centre tap is masked by group, like type B's.

    Streaming: along rows by `row_step`, along columns by `pixel_step`; an ungrouped type A layer, which sees
    nothing of its own row (pixel), has a latency of 1.

    Raises:
        ValueError: for an even kernel size, an unknown axis or mask type, or channels that do not split
            into the groups.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        axis: Literal["rows", "columns"],
        mask_type: MaskType = "B",
        groups: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        name = type(self).__name__
        check_mask_options(mask_type, filters, groups, name)
        if axis not in ("rows", "columns"):
            raise ValueError(f"{name} got axis={axis!r}; expected 'rows' or 'columns'.")
        if axis == "rows" and groups != 1:
            raise ValueError(f"{name} got groups={groups} along rows; rows above are known whole: groups=1.")
        kernel_size = odd_kernel_size(name, kernel_size)
        self.filters = filters
        self.kernel_size = kernel_size
        self.axis = axis
        self.mask_type = mask_type
        self.groups = groups
        self.latency = int(mask_type == "A" and groups == 1)
        self.taps = kernel_size // 2 + 1 - self.latency

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        check_groups("input channels", channels, self.groups, type(self).__name__)
        size = (self.taps, self.kernel_size) if self.axis == "rows" else (1, self.taps)
        self.kernel = self.add_weight(
            shape=(*size, channels, self.filters), initializer="glorot_uniform", name="kernel"
        )
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self._mask = None
        if self.axis == "columns" and not self.latency and self.groups > 1:
            self._mask = self._centre_mask(channels)
        self.built = True

    def _centre_mask(self, channels: int) -> np.ndarray:
        mask = np.ones((1, self.taps, channels, self.filters), "float32")
        mask[0, -1] = channel_mask(self.mask_type, channels, self.filters, self.groups)
        return mask

    def _masked_kernel(self) -> Any:
        kernel = ops.cast(self.kernel, self.compute_dtype)
        return kernel if self._mask is None else kernel * ops.cast(self._mask, self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        before = self.taps - 1 + self.latency
        half = self.kernel_size // 2
        if self.axis == "rows":
            x = inputs[:, :-1] if self.latency else inputs
            x = ops.pad(x, ((0, 0), (before, 0), (half, half), (0, 0)))
        else:
            x = inputs[:, :, :-1] if self.latency else inputs
            x = ops.pad(x, ((0, 0), (0, 0), (before, 0), (0, 0)))
        y = ops.conv(x, self._masked_kernel(), padding="valid", data_format="channels_last")
        return y + ops.cast(self.bias, self.compute_dtype)

    def row_spec(self, width: int) -> StateSpec | None:
        """(taps − 1, W, C): the rows above; None for a single tap."""
        self._check_axis("rows")
        if self.taps == 1:
            return None
        return StateSpec((self.taps - 1, width, self.kernel.shape[2]), self.compute_dtype)

    def row_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One row (B, W, C) → (B, W, filters), with the next state."""
        self._check_axis("rows")
        window, state = push_row(state, x)
        y = convolve_row(window, self._masked_kernel())
        return y + ops.cast(self.bias, self.compute_dtype), state

    def pixel_spec(self) -> StateSpec | None:
        """((taps − 1) · C,): the pixels to the left; None for a single tap."""
        self._check_axis("columns")
        if self.taps == 1:
            return None
        return StateSpec(((self.taps - 1) * self.kernel.shape[2],), self.compute_dtype)

    def pixel_step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One pixel (B, C) → (B, filters), with the next state."""
        self._check_axis("columns")
        window, state = push_pixel(state, x)
        y = convolve_pixel(window, self._masked_kernel()[0])
        return y + ops.cast(self.bias, self.compute_dtype), state

    def _check_axis(self, axis: str) -> None:
        if self.axis != axis:
            raise TypeError(
                f"{type(self).__name__} {self.name!r} looks along {self.axis} and does not step along {axis}."
            )

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "axis": self.axis,
            "mask_type": self.mask_type,
            "groups": self.groups,
        }
