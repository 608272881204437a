"""The decoder of MAE (He et al. 2021, arXiv:2111.06377).

Shapes: B batch · P class tokens · V visible patches · N patches · E features of the encoder · D of the
decoder · K numbers that are predicted of a patch.
"""

from typing import Any

import keras
from keras import ops

from tfprior.inputs import check_sizes
from tfprior.layers.pointwise_dense import PointwiseDense
from tfprior.layers.position_encodings import sin_cos_2d
from tfprior.layers.transformer_block import TransformerBlock
from tfprior.pretraining.masking import rows_at


class PatchDecoder(keras.layers.Layer):
    """A shallow Transformer over visible patches and mask tokens: (B, P + V, E) → (B, N, K).

        features ── dense ── visible ─┐
                        mask token × ─┴─ each to its place ── + positions ── blocks ── norm ── dense ── pixels

    Args:
        map_size: rows and columns of the patches; fixed positions, sin and cos, tell them.
        num_class_tokens: P.
        hidden_dim: D, a multiple of 4.
        num_layers: blocks.
        num_heads: heads of attention in each.
        num_predicted: K.
        epsilon: of the norms.

    Raises:
        ValueError: for sizes out of range.
    """

    def __init__(
        self,
        map_size: tuple[int, int],
        num_class_tokens: int,
        hidden_dim: int,
        num_layers: int,
        num_heads: int,
        num_predicted: int,
        epsilon: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(
            "The decoder",
            decoder_dim=hidden_dim,
            decoder_layers=num_layers,
            decoder_heads=num_heads,
        )
        dtype = self.dtype_policy
        self.num_class_tokens = num_class_tokens
        self.hidden_dim = hidden_dim
        self.positions = sin_cos_2d(*map_size, hidden_dim)  # (N, D)
        self.embed = PointwiseDense(hidden_dim, name="embed", dtype=dtype)
        self.blocks = [
            TransformerBlock(
                num_heads,
                4 * hidden_dim,
                "gelu",
                causal=False,
                epsilon=epsilon,
                name=f"block_{index}",
                dtype=dtype,
            )
            for index in range(num_layers)
        ]
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, name="norm", dtype=dtype)
        self.predict = PointwiseDense(num_predicted, name="predict", dtype=dtype)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.mask_token = self.add_weight((self.hidden_dim,), small, name="mask_token")
        self.embed.build(input_shape)
        tokens = (None, self.num_class_tokens + len(self.positions), self.hidden_dim)
        for layer in (*self.blocks, self.norm, self.predict):
            layer.build(tokens)
        self.built = True

    def call(self, features: Any, ranks: Any) -> Any:
        """Features, and which of visible patches, or of mask tokens behind them, each patch has (B, N)."""
        x = self.embed(features)
        classes, visible = x[:, : self.num_class_tokens], x[:, self.num_class_tokens :]
        num_hidden = len(self.positions) - visible.shape[1]
        hidden = ops.broadcast_to(
            ops.cast(self.mask_token, x.dtype), (ops.shape(x)[0], num_hidden, self.hidden_dim)
        )
        x = rows_at(ops.concatenate([visible, hidden], axis=1), ranks)  # (B, N, D)
        x = x + ops.cast(self.positions, x.dtype)
        x = ops.concatenate([classes, x], axis=1)
        for block in self.blocks:
            x = block(x)
        return self.predict(self.norm(x[:, self.num_class_tokens :]))
