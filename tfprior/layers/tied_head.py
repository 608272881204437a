"""The head of a masked language model (Devlin et al. 2018, "BERT", arXiv:1810.04805).

Shapes: B batch · T tokens · D features of a token · E of a value · K values.
"""

from typing import Any

import keras
from keras import ops

from tfprior.layers.feed_forward import gelu
from tfprior.layers.pointwise_dense import PointwiseDense


class TiedHead(keras.layers.Layer):
    """Tokens (B, T, D) → logits (B, T, K), by the table (K, E) that values are embedded by.

        tokens ── dense ── gelu ── norm ── · tableᵀ + bias ── logits

    Args:
        features: E.
        num_values: K.
        epsilon: of the norm.
    """

    def __init__(self, features: int, num_values: int, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_values = num_values
        self.dense = PointwiseDense(features, name="dense", dtype=self.dtype_policy)
        self.norm = keras.layers.LayerNormalization(epsilon=epsilon, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.dense.build(input_shape)
        self.norm.build(self.dense.compute_output_shape(input_shape))
        self.bias = self.add_weight((self.num_values,), "zeros", name="bias")
        self.built = True

    def call(self, x: Any, table: Any) -> Any:
        x = self.norm(gelu(self.dense(x)))
        return ops.matmul(x, ops.transpose(ops.cast(table, x.dtype))) + ops.cast(self.bias, x.dtype)
