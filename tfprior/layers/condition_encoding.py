"""How a network reads a condition."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.lookup import rows_of


class ConditionEncoding(keras.layers.Layer):
    """Labels (B,), vectors (B, D) or maps (B, H, W, D) → features (B, 1 or H, 1 or W, D).

    With dropout an example may have no condition: its label is `num_classes`, its numbers are NaN, and it is
    read as features of its own. In training so are those that dropout chooses (Ho & Salimans 2022,
    arXiv:2207.12598).

    Args:
        num_classes: of labels, which get a learned embedding; None for vectors and maps, which are features.
        embedding_dim: D of the embedding.
        dropout: share of training examples that lose their condition.

    Raises:
        ValueError: for sizes below 1.
    """

    def __init__(
        self, num_classes: int | None = None, embedding_dim: int = 64, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if (num_classes is not None and num_classes < 1) or embedding_dim < 1:
            raise ValueError(
                f"ConditionEncoding got num_classes={num_classes} and embedding_dim={embedding_dim}; "
                "expected positive numbers."
            )
        self.num_classes = num_classes
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        if dropout:
            self.noise = keras.random.SeedGenerator()

    def build(self, input_shape: tuple[Any, ...]) -> None:
        if self.num_classes is not None:
            rows = self.num_classes + (self.dropout > 0)
            self.table = self.add_weight((rows, self.embedding_dim), "uniform", name="table")
        elif self.dropout:
            self.none = self.add_weight((input_shape[-1],), "uniform", name="none")
        self.built = True

    def call(self, condition: Any, training: bool = False) -> Any:
        lost = self.lost(condition) if self.dropout and training else None
        if self.num_classes is not None:
            labels = ops.cast(condition, "int32")
            if lost is not None:
                labels = ops.where(lost, self.num_classes, labels)
            condition = rows_of(self.table, labels)
        elif self.dropout:
            absent = ops.isnan(condition)
            if lost is not None:
                absent = absent | ops.reshape(lost, (-1, *[1] * (len(condition.shape) - 1)))
            condition = ops.where(absent, ops.cast(self.none, condition.dtype), condition)
        condition = ops.cast(condition, self.compute_dtype)
        return condition if len(condition.shape) == 4 else condition[:, None, None, :]

    def lost(self, condition: Any) -> Any:
        """Which examples lose their condition: (B,) bool."""
        return keras.random.uniform((ops.shape(condition)[0],), seed=self.noise) < self.dropout

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
