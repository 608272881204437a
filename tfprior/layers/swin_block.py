"""The block of a Swin Transformer (Liu et al. 2021, arXiv:2103.14030).

Shapes: B batch · H W map · N = H · W tokens · D features · h heads · n tokens of a window.
"""

from typing import Any

import keras
from keras import ops

from tfprior.layers.feed_forward import Activation
from tfprior.layers.lookup import rows_of
from tfprior.layers.streaming import Apply
from tfprior.layers.transformer_block import TransformerBlock
from tfprior.layers.windows import OverWindows, Windows


@keras.saving.register_keras_serializable("tfprior")
class SwinBlock(keras.layers.Layer):
    """A pre-LN block whose tokens attend to those of their window, by where they stand to each other.

        x ──┬── norm ── windows ── attention + bias ── map ──+──┬── norm ── feed-forward ──+──
            └────────────────────────────────────────────────┘  └──────────────────────────┘

    Tokens of a map in raster order (B, N, D) → (B, N, D). `run` takes any of them, given what applies
    attention.

    Args:
        num_heads: h.
        mlp_dim: features inside the feed-forward part.
        map_size: (H, W).
        window_size: side of a window.
        shift: by which windows stand further down and to the right.
        activation: of the feed-forward part; see `FeedForward`.
        dropout: rate of dropout on each part's result, on attention, and inside the feed-forward part.
        stochastic_depth: rate at which a part is left out in training.
        epsilon: of the norms.

    Raises:
        ValueError: for a shift that is not smaller than the window, and for an unknown activation.
    """

    def __init__(
        self,
        num_heads: int,
        mlp_dim: int,
        map_size: tuple[int, int],
        window_size: int = 7,
        shift: int = 0,
        activation: Activation = "gelu",
        dropout: float = 0.0,
        stochastic_depth: float = 0.0,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.mlp_dim = mlp_dim
        self.map_size = (map_size[0], map_size[1])
        self.window_size = window_size
        self.shift = shift
        self.activation = activation
        self.dropout = dropout
        self.stochastic_depth = stochastic_depth
        self.epsilon = epsilon
        self.windows = Windows(self.map_size, window_size, shift)
        dtype = self.dtype_policy
        self.position_bias = RelativePositionBias(num_heads, window_size, name="position_bias", dtype=dtype)
        self.transformer = TransformerBlock(
            num_heads,
            mlp_dim,
            activation,
            causal=False,
            dropout=dropout,
            stochastic_depth=stochastic_depth,
            epsilon=epsilon,
            name="transformer",
            dtype=dtype,
        )

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.position_bias.build()
        self.transformer.build(input_shape)
        self.built = True

    def call(self, x: Any) -> Any:
        bias = self.position_bias.of(self.windows.index)
        if self.windows.mask is not None:
            bias = ops.cast(bias, "float32") + self.windows.mask
        return self.run(x, OverWindows(self.windows, bias))

    def run(self, x: Any, apply: Apply) -> Any:
        """Any tokens (B, T, D) → (B, T, D), by what applies attention to them."""
        return self.transformer.run(x, apply)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "mlp_dim": self.mlp_dim,
            "map_size": self.map_size,
            "window_size": self.window_size,
            "shift": self.shift,
            "activation": self.activation,
            "dropout": self.dropout,
            "stochastic_depth": self.stochastic_depth,
            "epsilon": self.epsilon,
        }


class RelativePositionBias(keras.layers.Layer):
    """A learned number for each head and each way that two tokens of a window can stand to each other.

    The table is that of whole windows, whatever the map: weights do not depend on the size of images.
    """

    def __init__(self, num_heads: int, window_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.window_size = window_size

    def build(self, input_shape: Any = None) -> None:
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.table = self.add_weight(((2 * self.window_size - 1) ** 2, self.num_heads), small, name="table")
        self.built = True

    def of(self, index: Any) -> Any:
        """`relative_positions` (…, n, n) → (…, h, n, n)."""
        return ops.moveaxis(rows_of(self.table, index), -1, -3)
