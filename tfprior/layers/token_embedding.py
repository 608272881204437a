"""What a Transformer knows of the tokens of a grid before they attend to each other.

Shapes: B batch · H W grid · T tokens · G tokens of a position · F features of a value · D of a token.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.layers.lookup import rows_of
from tfprior.layers.pointwise_dense import PointwiseDense
from tfprior.layers.position_encodings import sinusoidal
from tfprior.layers.streaming import select

Positions = Literal["learned", "sinusoidal", "rotary"]
POSITIONS = ("learned", "sinusoidal", "rotary")


class TokenEmbedding(keras.layers.Layer):
    """What a token says (B, T, F), plus where it stands, plus the condition there: (B, T, D).

    Args:
        features: D.
        num_places: N, the tokens of a whole grid.
        positions: "learned", "sinusoidal" (Vaswani et al. 2017), or "rotary", which adds nothing here.
        tokens_per_position: G.

    Raises:
        ValueError: for unknown positions.
    """

    def __init__(
        self,
        features: int,
        num_places: int,
        positions: Positions = "learned",
        tokens_per_position: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if positions not in POSITIONS:
            raise ValueError(f"Unknown positions {positions!r}; expected one of {', '.join(POSITIONS)}.")
        self.features = features
        self.num_places = num_places
        self.positions = positions
        self.tokens_per_position = tokens_per_position
        dtype = self.dtype_policy
        self.value = PointwiseDense(features, name="value", dtype=dtype)
        self.condition = PointwiseDense(features, use_bias=False, name="condition", dtype=dtype)

    def build(self, input_shape: tuple[Any, ...], condition_shape: tuple[Any, ...] | None = None) -> None:
        self.value.build(input_shape)
        if condition_shape is not None:
            self.condition.build(condition_shape)
        self.table = self._table()
        self.built = True

    def _table(self) -> Any:
        """What joins a token by its place; rotations know the position already, and not the channel."""
        if self.positions == "sinusoidal":
            return sinusoidal(self.num_places, self.features)
        rows = self.tokens_per_position if self.positions == "rotary" else self.num_places
        small = keras.initializers.RandomNormal(stddev=0.02)
        return None if rows == 1 else self.add_weight((rows, self.features), small, name="table")

    def call(self, values: Any, places: Any, condition: Any = None) -> Any:
        """Values (B, T, F) at `places` (T,) or (B, T), condition features (B, 1 or H, 1 or W, K)."""
        x = self.value(values)
        if self.table is not None:
            rows = places % self.tokens_per_position if self.positions == "rotary" else places
            x = x + ops.cast(rows_of(self.table, rows), x.dtype)
        if condition is not None:
            x = x + self.condition_at(places // self.tokens_per_position, condition)
        return x

    def condition_at(self, positions: Any, condition: Any) -> Any:
        """The condition at positions (T,) or (B, T) of the grid, as it joins the tokens: (B, 1 or T, D)."""
        height, width = condition.shape[1:3]
        features = self.condition(ops.reshape(condition, (-1, height * width, condition.shape[-1])))
        if height * width == 1:
            return features
        if len(positions.shape) == 1:
            return ops.take(features, positions, axis=1)
        return select(features, positions)
