"""How a network reads a condition."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.lookup import rows_of


class ConditionEncoding(keras.layers.Layer):
    """Labels (B,), vectors (B, D) or maps (B, H, W, D) → features (B, 1 or H, 1 or W, D).

    Args:
        num_classes: of labels, which get a learned embedding; None for vectors and maps, which are features.
        embedding_dim: D of the embedding.

    Raises:
        ValueError: for sizes below 1.
    """

    def __init__(self, num_classes: int | None = None, embedding_dim: int = 64, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if (num_classes is not None and num_classes < 1) or embedding_dim < 1:
            raise ValueError(
                f"ConditionEncoding got num_classes={num_classes} and embedding_dim={embedding_dim}; "
                "expected positive numbers."
            )
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim

    def build(self, input_shape: tuple[Any, ...]) -> None:
        if self.num_classes is not None:
            self.table = self.add_weight(
                shape=(self.num_classes, self.embedding_dim), initializer="uniform", name="table"
            )
        self.built = True

    def call(self, condition: Any) -> Any:
        if self.num_classes is not None:
            condition = rows_of(self.table, ops.cast(condition, "int32"))
        condition = ops.cast(condition, self.compute_dtype)
        return condition if len(condition.shape) == 4 else condition[:, None, None, :]

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(input_shape) == 4:
            return input_shape
        features = input_shape[-1] if self.num_classes is None else self.embedding_dim
        return (input_shape[0], 1, 1, features)

    def build_for(self, condition_shape: tuple[int, ...] | None) -> tuple[Any, ...]:
        """Builds it for labels, or conditions of that shape → the shape of their features."""
        shape = (None, *(condition_shape or ()))
        self.build(shape)
        return self.compute_output_shape(shape)
