"""Multi-head attention (Vaswani et al. 2017, "Attention Is All You Need", arXiv:1706.03762).

Shapes: B batch, or several axes of it · T tokens that ask · S tokens that are asked · D features · h heads ·
d features of a head.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.layers.key_value_cache import Rotation, Slots, in_scores, until
from tfprior.layers.pointwise_dense import PointwiseDense
from tfprior.layers.streaming import State


@keras.saving.register_keras_serializable("tfprior")
class MultiHeadAttention(keras.layers.Layer):
    """softmax(q kᵀ / √d + bias) v, in several heads side by side.

        queries (B, T, D) ── q ──┐
                                 ├── softmax(q kᵀ / √d + bias) v ── result (B, T, D)
        memory (B, S, M) ── k, v ┘

    [queries, memory] → (B, T, D); tokens (B, T, D) alone attend to each other.

    Args:
        num_heads: h; they share the D features of the queries.
        dropout: rate of dropout on the weights of the softmax.
        use_bias: whether the projections have one.

    Raises:
        ValueError: for features that do not split into the heads.
    """

    def __init__(self, num_heads: int, dropout: float = 0.0, use_bias: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if num_heads < 1:
            raise ValueError(f"{type(self).__name__} got num_heads={num_heads}; expected a positive number.")
        self.num_heads = num_heads
        self.dropout = dropout
        self.use_bias = use_bias

    def build(self, input_shape: Any) -> None:
        shapes = shapes_of(input_shape)
        features = shapes[0][-1]
        if features % self.num_heads:
            raise ValueError(
                f"{type(self).__name__} got {features} features for num_heads={self.num_heads}; expected a "
                "multiple of the heads."
            )
        self.head_dim = features // self.num_heads
        options = {"use_bias": self.use_bias, "dtype": self.dtype_policy}
        self.query = PointwiseDense(features, name="query", **options)
        self.key_value = PointwiseDense(2 * features, name="key_value", **options)
        self.result = PointwiseDense(features, name="result", **options)
        self.dropped = keras.layers.Dropout(self.dropout, dtype=self.dtype_policy)
        self.query.build(shapes[0])
        self.key_value.build(shapes[-1])
        self.result.build(shapes[0])
        self.built = True

    def call(self, inputs: Any, rotation: Rotation | None = None, bias: Any = None) -> Any:
        """`rotation` turns queries and keys by their places; `bias` (…, h or 1, T, S) joins the scores."""
        x, memory = inputs if isinstance(inputs, list) else (inputs, inputs)
        queries, (keys, values) = self.queries(x, rotation), self.keys_and_values(memory, rotation)
        return self.attend(queries, keys, values, bias)

    def queries(self, x: Any, rotation: Rotation | None = None) -> Any:
        """(B, T, D) → (B, h, T, d), scaled."""
        queries = self._heads(self.query(x)) * np.float32(self.head_dim**-0.5).astype(self.compute_dtype)
        return queries if rotation is None else rotation(queries)

    def keys_and_values(self, memory: Any, rotation: Rotation | None = None) -> tuple[Any, Any]:
        """(B, S, M) → twice (B, h, S, d)."""
        keys, values = (self._heads(part) for part in ops.split(self.key_value(memory), 2, axis=-1))
        return keys if rotation is None else rotation(keys), values

    def attend(self, queries: Any, keys: Any, values: Any, bias: Any = None) -> Any:
        """Queries (B, h, T, d), keys and values (B, h, S, d), bias (…, h or 1, T, S) → (B, T, D)."""
        scores = ops.matmul(queries, ops.swapaxes(keys, -1, -2))
        if bias is not None:
            scores = scores + in_scores(bias, self.compute_dtype)
        weights = self.dropped(ops.softmax(scores, axis=-1))
        seen = ops.swapaxes(ops.matmul(weights, values), -2, -3)  # (B, T, h, d)
        return self.result(ops.reshape(seen, (-1, *ops.shape(seen)[1:-2], self.num_heads * self.head_dim)))

    def _heads(self, x: Any) -> Any:
        heads = ops.reshape(x, (-1, *ops.shape(x)[1:-1], self.num_heads, self.head_dim))
        return ops.swapaxes(heads, -2, -3)

    def compute_output_shape(self, input_shape: Any) -> tuple[Any, ...]:
        return shapes_of(input_shape)[0]

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "use_bias": self.use_bias,
        }


@keras.saving.register_keras_serializable("tfprior")
class CausalSelfAttention(MultiHeadAttention):
    """Attention of tokens (B, T, D) to themselves and those before them: (B, T, D).

    `token_step` runs it for the next tokens alone, from the keys and values of those before.
    """

    def call(self, inputs: Any, rotation: Rotation | None = None, bias: Any = None) -> Any:
        length = inputs.shape[1]
        causal = until(ops.arange(length, dtype="int32"), length)
        return super().call(inputs, rotation, causal if bias is None else causal + bias)

    def token_step(
        self, x: Any, cache: State, slots: Slots, rotation: Rotation | None = None
    ) -> tuple[Any, State]:
        """The next tokens (B, T, D), in order, at some slots of the cache → their outputs, and the cache."""
        cache = slots.added(cache, *self.keys_and_values(x, rotation))
        bias = slots.bias(cache["keys"])
        return self.attend(self.queries(x, rotation), cache["keys"], cache["values"], bias), cache


def shapes_of(input_shape: Any) -> list[tuple[Any, ...]]:
    """The shapes of one input or of several; files hold lists for tuples."""
    several = isinstance(input_shape[0], tuple | list)
    return [tuple(shape) for shape in (input_shape if several else [input_shape])]
