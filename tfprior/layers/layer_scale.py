"""Small changes at first (Touvron et al. 2021, "Going Deeper with Image Transformers", arXiv:2103.17239)."""

from typing import Any

import keras
from keras import ops


class LayerScale(keras.layers.Layer):
    """Each feature times a weight of its own: (…, D) → (…, D).

    Args:
        initial: what the weights begin with; 1e-5 in DINOv2.
    """

    is_pointwise = True

    def __init__(self, initial: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape: tuple[Any, ...]) -> None:
        initializer = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight((input_shape[-1],), initializer, name="gamma")
        self.built = True

    def call(self, x: Any) -> Any:
        return x * ops.cast(self.gamma, x.dtype)
