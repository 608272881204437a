"""How a network reads integer values."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.layers.lookup import rows_of

OUTSIDE = -1
"""The value of a pixel outside the image, or not known yet: it is encoded as zeros, like padding."""


@keras.saving.register_keras_serializable("tfprior")
class ValueEncoding(keras.layers.Layer):
    """Integers (…, C) in [0, num_levels) → features (…, C · D), the D features of each channel together.

    By default D = 2: the value scaled to [−1, 1], and a one that tells an image's pixel from padding. With
    `embedding_dim` a learned embedding of D features, for values without an order such as codes.
    """

    is_pointwise = True

    def __init__(self, num_levels: int, embedding_dim: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_levels < 2:
            raise ValueError(f"ValueEncoding got num_levels={num_levels}; expected at least 2.")
        if embedding_dim is not None and embedding_dim < 1:
            raise ValueError(
                f"ValueEncoding got embedding_dim={embedding_dim}; expected a positive number, or None for "
                "scaled values."
            )
        self.num_levels = num_levels
        self.embedding_dim = embedding_dim

    def build(self, input_shape: tuple[Any, ...]) -> None:
        if self.embedding_dim is not None:
            self.table = self.add_weight(
                shape=(self.num_levels, self.embedding_dim), initializer="uniform", name="table"
            )
        self.built = True

    def call(self, values: Any) -> Any:
        known = ops.expand_dims(ops.cast(ops.cast(values, "int32") >= 0, self.compute_dtype), -1)
        if self.embedding_dim is None:
            # The product of two floats rounds once everywhere; a division may be rewritten by a compiler.
            scale = np.float32(2 / (self.num_levels - 1))
            scaled = ops.expand_dims(ops.cast(values, "float32"), -1) * scale - 1
            features = ops.concatenate(
                [ops.cast(scaled, self.compute_dtype) * known, known], len(values.shape)
            )
        else:
            table = ops.cast(self.table, self.compute_dtype)
            features = rows_of(table, ops.maximum(ops.cast(values, "int32"), 0)) * known
        return ops.reshape(features, (-1, *values.shape[1:-1], self.num_features(values.shape[-1])))

    def num_features(self, channels: int) -> int:
        return channels * (self.embedding_dim or 2)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.num_features(input_shape[-1]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_levels": self.num_levels,
            "embedding_dim": self.embedding_dim,
        }
