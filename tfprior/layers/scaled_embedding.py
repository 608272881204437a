"""The first layer of the original Transformer.

Shapes: B batch · T tokens · D features.
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.layers.lookup import rows_of
from tfprior.layers.position_encodings import sinusoidal


class ScaledEmbedding(keras.layers.Layer):
    """Embedded tokens · √D, plus where they stand, with dropout (Vaswani et al. 2017): (B, T, D) → (B, T, D).

    Args:
        num_places: N, the tokens of a whole sequence.
        positions: "sinusoidal", or "learned".
        dropout: rate of dropout on the sums.

    Raises:
        ValueError: for unknown positions.
    """

    def __init__(
        self,
        num_places: int,
        positions: Literal["sinusoidal", "learned"] = "sinusoidal",
        dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if positions not in ("sinusoidal", "learned"):
            raise ValueError(f"Unknown positions {positions!r}; expected sinusoidal or learned.")
        self.num_places = num_places
        self.positions = positions
        self.dropped = keras.layers.Dropout(dropout, dtype=self.dtype_policy)

    def build(self, input_shape: tuple[Any, ...]) -> None:
        features = input_shape[-1]
        self.scale = np.float32(features**0.5)
        if self.positions == "learned":
            small = keras.initializers.RandomNormal(stddev=0.02)
            self.table = self.add_weight((self.num_places, features), small, name="table")
        else:
            self.table = sinusoidal(self.num_places, features)
        self.built = True

    def call(self, embedded: Any, places: Any) -> Any:
        """Tokens at `places` (T,) or (B, T) of their sequence."""
        x = embedded * ops.cast(self.scale, embedded.dtype)
        return self.dropped(x + ops.cast(rows_of(self.table, places), x.dtype))
