"""The residual block of PixelCNN (van den Oord et al. 2016, arXiv:1601.06759, figure 5)."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.masked_conv import MaskedConv2D
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.masks import check_groups
from tfprior.layers.streaming import Apply, over_image


@keras.saving.register_keras_serializable("tfprior")
class ResidualBlock(keras.layers.Layer):
    """h + 1×1(relu(3×3 B(relu(1×1(relu(h)))) + link)): 2h → h → h → 2h features, `filters` = 2h.

    (B, H, W, filters) → (B, H, W, filters). `link` joins before the last activation: the condition, and
    when streaming also what the rows above contribute.

    Raises:
        ValueError: if half the filters do not split into the channel groups.
    """

    def __init__(
        self, filters: int, kernel_size: int = 3, groups: int = 1, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_groups("filters", filters, 2 * groups, type(self).__name__)
        self.filters = filters
        self.kernel_size = kernel_size
        self.groups = groups
        self.dropout = dropout
        dtype = self.dtype_policy
        self.reduce = MaskedDense(filters // 2, "B", groups, dtype=dtype)
        self.conv = MaskedConv2D(
            filters // 2, kernel_size, "B", groups, name=f"{self.name}_conv", dtype=dtype
        )
        self.drop = keras.layers.Dropout(dropout, dtype=dtype)
        self.expand = MaskedDense(filters, "B", groups, dtype=dtype)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        half = (None, None, None, self.filters // 2)
        self.reduce.build(input_shape)
        self.conv.build(half)
        self.expand.build(half)
        self.built = True

    def call(self, h: Any, training: bool = False) -> Any:
        return self.run(h, 0.0, over_image, training)

    def run(self, h: Any, link: Any, apply: Apply, training: bool = False) -> Any:
        """The block, its masked convolution run by `apply` and joined by `link` (…, filters / 2)."""
        x = self.reduce(ops.relu(h))
        x = apply(self.conv, ops.relu(x)) + link
        x = self.drop(ops.relu(x), training=training)
        return h + self.expand(x)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "groups": self.groups,
            "dropout": self.dropout,
        }
