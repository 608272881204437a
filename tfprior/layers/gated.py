"""The gated block of the Gated PixelCNN (van den Oord et al. 2016, arXiv:1606.05328, figure 2)."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.causal_conv import CausalConv2D
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.masks import MaskType, check_groups
from tfprior.layers.streaming import Apply, over_image


def split_groups(x: Any, groups: int) -> tuple[Any, Any]:
    """The two halves of every channel group: (…, 2F) → (…, F), (…, F), each in the order of the groups."""
    if groups == 1:
        return ops.split(x, 2, axis=-1)
    *outer, channels = x.shape[1:]
    halves = ops.split(ops.reshape(x, (-1, *outer, groups, channels // groups)), 2, axis=-1)
    return tuple(ops.reshape(half, (-1, *outer, channels // 2)) for half in halves)


def concatenate_groups(parts: list[Any], groups: int) -> Any:
    """Features of several tensors (…, F) as one (…, n · F), each channel group's together."""
    if groups == 1:
        return ops.concatenate(parts, axis=len(parts[0].shape) - 1)
    *outer, channels = parts[0].shape[1:]
    grouped = [ops.reshape(part, (-1, *outer, groups, channels // groups)) for part in parts]
    return ops.reshape(ops.concatenate(grouped, axis=-1), (-1, *outer, len(parts) * channels))


@keras.saving.register_keras_serializable("tfprior")
class GatedActivation(keras.layers.Layer):
    """tanh(a) · σ(b), where each channel group holds its a and then its b: (…, 2F) → (…, F)."""

    is_pointwise = True

    def __init__(self, groups: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if groups < 1:
            raise ValueError(f"GatedActivation got groups={groups}; expected a positive number of groups.")
        self.groups = groups

    def build(self, input_shape: tuple[Any, ...]) -> None:
        if input_shape[-1] % (2 * self.groups):
            raise ValueError(
                f"GatedActivation got {input_shape[-1]} channels for groups={self.groups}; expected a "
                f"multiple of {2 * self.groups}: every group holds its a and its b."
            )
        self.built = True

    def call(self, x: Any) -> Any:
        a, b = split_groups(x, self.groups)
        return ops.tanh(a) * ops.sigmoid(b)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], input_shape[-1] // 2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("tfprior")
class GatedBlock(keras.layers.Layer):
    """Vertical and horizontal stack side by side; the vertical one feeds the horizontal one, never back.

          v ── k×k rows ──┬── gate ──────────── v'
                          │
                         1×1 (link)
                          │
          h ── 1×k cols ──+── gate ──┬── 1×1 ──(+ h)── h'
                                     └──────────────── skip

    [v (B, H, W, F), h (B, H, W, F), condition (B, 1 or H, 1 or W, D)] → [v', h', skip], each with `filters`
    channels; leave the condition out for an unconditional block. The first block of a network has mask type
    "A" and no residual connection.

    Raises:
        ValueError: if `filters` does not split into the channel groups.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int = 3,
        mask_type: MaskType = "B",
        groups: int = 1,
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_groups("filters", filters, groups, type(self).__name__)
        self.filters = filters
        self.kernel_size = kernel_size
        self.mask_type = mask_type
        self.groups = groups
        self.dropout = dropout

        dtype = self.dtype_policy
        self.rows_conv = CausalConv2D(
            2 * filters, kernel_size, "rows", mask_type, name=f"{self.name}_rows", dtype=dtype
        )
        self.columns_conv = CausalConv2D(
            2 * filters,
            kernel_size,
            "columns",
            mask_type,
            groups,
            name=f"{self.name}_columns",
            dtype=dtype,
        )
        # The horizontal convolution that it joins has a bias already.
        self.link = MaskedDense(2 * filters, use_bias=False, dtype=dtype)
        self.condition_gates = keras.layers.Dense(4 * filters, use_bias=False, dtype=dtype)
        self.vertical_gate = GatedActivation(dtype=dtype)
        self.horizontal_gate = GatedActivation(groups, dtype=dtype)
        self.drop = keras.layers.Dropout(dropout, dtype=dtype)
        self.residual = MaskedDense(filters, "B", groups, dtype=dtype)

    def build(self, input_shape: list[tuple[Any, ...]]) -> None:
        vertical, horizontal, *condition = input_shape
        self.rows_conv.build(vertical)
        self.columns_conv.build(horizontal)
        self.link.build((None, None, None, 2 * self.filters))
        if condition:
            self.condition_gates.build(condition[0])
        self.residual.build((None, None, None, self.filters))
        self.built = True

    def vertical(self, v: Any, condition: Any, apply: Apply) -> tuple[Any, Any]:
        """The vertical stack: v → (v', link to the horizontal stack (…, 2F))."""
        v = apply(self.rows_conv, v)  # (…, 2F)
        if condition is None:
            return self.vertical_gate(v), self.link(v)
        to_v, to_h = ops.split(self.condition_gates(condition), 2, axis=-1)
        v = v + to_v
        return self.vertical_gate(v), self.link(v) + to_h

    def horizontal(self, h: Any, link: Any, apply: Apply, training: bool = False) -> tuple[Any, Any]:
        """The horizontal stack: h and the link → (h', skip)."""
        gated = self.horizontal_gate(apply(self.columns_conv, h) + link)
        gated = self.drop(gated, training=training)
        residual = self.residual(gated)
        return residual if self.mask_type == "A" else residual + h, gated

    def call(self, inputs: list[Any], training: bool = False) -> list[Any]:
        v, h, *condition = inputs
        v, link = self.vertical(v, condition[0] if condition else None, over_image)
        return [v, *self.horizontal(h, link, over_image, training)]

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> list[Any]:
        return [(*input_shape[0][:-1], self.filters)] * 3

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "mask_type": self.mask_type,
            "groups": self.groups,
            "dropout": self.dropout,
        }
