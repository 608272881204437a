"""Images as encoders take them.

Shapes: B batch · H W C image.
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("tfprior")
class ImageScaling(keras.layers.Layer):
    """(x − mean) / std of images (B, H, W, C), whose integers are levels out of 255, and floats in [0, 1].

    Args:
        mean: of floats in [0, 1]; a number, or one for each channel.
        std: likewise.

    Raises:
        ValueError: for numbers that are not finite, and for an std that is not positive.
    """

    is_pointwise = True

    def __init__(
        self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.mean, self.std = (tuple(x) if isinstance(x, list | tuple) else x for x in (mean, std))
        if not all(map(math.isfinite, [*np.ravel(mean), *np.ravel(std)])) or np.min(std) <= 0:
            raise ValueError(f"Got mean={mean!r} and std={std!r}; expected finite numbers, std above 0.")

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        for name, given in (("mean", self.mean), ("std", self.std)):
            if np.shape(given) not in ((), (channels,)):
                raise ValueError(
                    f"Got {name}={given!r} for images of {channels} channels; expected a number, or one each."
                )
        self.built = True

    def call(self, images: Any) -> Any:
        levels = "int" in keras.backend.standardize_dtype(images.dtype)
        x = ops.cast(images, "float32") * np.float32(1 / 255 if levels else 1)
        mean, std = (np.asarray(given, "float32") for given in (self.mean, self.std))
        return ops.cast((x - mean) / std, self.compute_dtype)

    def undone(self, images: Any) -> Any:
        """What the layer gave → floats in [0, 1]."""
        mean, std = (np.asarray(given, "float32") for given in (self.mean, self.std))
        return images * std + mean

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mean": self.mean, "std": self.std}
