"""The gated residual block of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517)."""

from typing import Any, NamedTuple

import keras
from keras import ops

from tfprior.layers.shifted_conv import Direction, ShiftedConv2D
from tfprior.layers.streaming import Apply, joined, over_image
from tfprior.layers.weight_norm import WeightNormDense


def concat_elu(x: Any) -> Any:
    """elu of x and of −x, side by side: (…, C) → (…, 2C)."""
    return ops.elu(ops.concatenate([x, -x], axis=len(x.shape) - 1))


class Features(NamedTuple):
    """Features x (…, F) with their concat_elu (…, 2F), computed once for all the layers that look at it."""

    x: Any
    elu: Any

    @classmethod
    def of(cls, x: Any) -> "Features":
        return cls(x, concat_elu(x))


@keras.saving.register_keras_serializable("tfprior")
class GatedResNet(keras.layers.Layer):
    """x + a · σ(b), where a and b come out of two shifted convolutions, concat_elu before each.

        x ── elu ─ conv ──+── elu ─ dropout ─ conv ──+── a · σ(b) ──+── x'
        │                 │                          │              │
        │     1×1 ─ elu ─ down, shortcut    condition (1×1)         │
        └───────────────────────────────────────────────────────────┘

    [x, down, shortcut (each (B, H, W, F)), condition (B, 1 or H, 1 or W, D)] → (B, H, W, F); x comes
    with those of the others that the block was made for, in this order.

    Args:
        filters: features of x, F.
        direction: of the convolutions: "down" sees the rows above and its own, "down_right" only the part
            of its own row to the left.
        takes_down: whether the features of a block that looks down come in.
        takes_shortcut: whether a short-cut from an earlier block comes in.
        dropout: rate, between the convolutions.
        weight_norm: whether the kernels are normalized.

    Raises:
        ValueError: for an unknown direction, or inputs that do not fit.
    """

    def __init__(
        self,
        filters: int,
        direction: Direction,
        takes_down: bool = False,
        takes_shortcut: bool = False,
        dropout: float = 0.0,
        weight_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.filters = filters
        self.direction = direction
        self.takes_down = takes_down
        self.takes_shortcut = takes_shortcut
        self.dropout = dropout
        self.weight_norm = weight_norm

        shared = {"weight_norm": weight_norm, "dtype": self.dtype_policy}
        size = (2, 3) if direction == "down" else (2, 2)
        self.conv = ShiftedConv2D(filters, size, direction, name=f"{self.name}_conv", **shared)
        self.gates = ShiftedConv2D(
            2 * filters, size, direction, init_scale=0.1, name=f"{self.name}_gates", **shared
        )
        self.from_down = WeightNormDense(filters, **shared) if takes_down else None
        self.from_shortcut = WeightNormDense(filters, **shared) if takes_shortcut else None
        self.from_condition = keras.layers.Dense(2 * filters, use_bias=False, dtype=self.dtype_policy)
        self.drop = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: list[tuple[Any, ...]]) -> None:
        x, *others = input_shape if isinstance(input_shape[0], tuple | list) else [input_shape]
        expected = self.takes_down + self.takes_shortcut
        if x[-1] != self.filters or len(others) - expected not in (0, 1):
            raise ValueError(
                f"GatedResNet got inputs of shapes {[tuple(shape) for shape in (x, *others)]}; expected x "
                f"with {self.filters} channels and {expected} more, or {expected + 1} with a condition."
            )
        doubled = (*x[:-1], 2 * self.filters)
        self.conv.build(doubled)
        self.gates.build(doubled)
        for layer in (self.from_down, self.from_shortcut):
            if layer is not None:
                layer.build(doubled)
        if len(others) > expected:
            self.from_condition.build(others[-1])
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        x, *others = inputs if isinstance(inputs, list | tuple) else [inputs]
        down = others.pop(0) if self.takes_down else None
        shortcut = others.pop(0) if self.takes_shortcut else None
        down, shortcut = (None if part is None else Features.of(part) for part in (down, shortcut))
        links = self.links(down, others[0] if others else None, over_image)
        return self.run(Features.of(x), shortcut, joined(over_image, links), training).x

    def links(self, down: Features | None, condition: Any, apply: Apply) -> dict[str, Any]:
        """What joins the convolutions from outside: name of the convolution → (…, F) or (…, 2F)."""
        links = {}
        if self.from_down is not None and down is not None:
            links[self.conv.name] = apply(self.from_down, down.elu)
        if condition is not None:
            links[self.gates.name] = self.from_condition(condition)
        return links

    def run(
        self, features: Features, shortcut: Features | None, apply: Apply, training: bool = False
    ) -> Features:
        """The block, its layers run by `apply`, which adds the links: x and the short-cut → x'."""
        h = apply(self.conv, features.elu)
        if self.from_shortcut is not None and shortcut is not None:
            h = h + apply(self.from_shortcut, shortcut.elu)
        h = self.drop(concat_elu(h), training=training)
        a, b = ops.split(apply(self.gates, h), 2, axis=len(h.shape) - 1)
        return Features.of(features.x + a * ops.sigmoid(b))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0] if isinstance(input_shape[0], tuple | list) else input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "direction": self.direction,
            "takes_down": self.takes_down,
            "takes_shortcut": self.takes_shortcut,
            "dropout": self.dropout,
            "weight_norm": self.weight_norm,
        }
