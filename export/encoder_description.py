"""What a manifest says of an encoder: which images it takes, what it gives, and golden values of both.

Shapes: N golden images · H W C image · F features of D numbers each, those of class tokens first · K classes
· U units of an image that are hidden or visible as a whole.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from tfprior.export.checks import Size, check_array, check_class_names, check_tensor
from tfprior.export.strict_json import FloatArray, IntArray

PIXELS, SCALED = "pixels in [0, 1]", "floats scaled as the encoder was trained"
FEATURES, CLASSIFY, RECONSTRUCT = "features", "classify", "reconstruct"
"""Names of functions."""
HIGHEST_LEVEL = 255


@dataclass(frozen=True, eq=False)
class GoldenFeatures:
    """Levels (N, H, W, C) → features (N, F, D), and of a classifier logits (N, K); levels / 255 go in.

    Of what reconstructs images, with noise (N, U), too: reconstruction (N, H, W, C).
    """

    levels: IntArray
    features: FloatArray
    logits: FloatArray | None
    noise: FloatArray | None
    reconstruction: FloatArray | None

    @property
    def images(self) -> np.ndarray:
        return as_pixels(self.levels)


@dataclass(frozen=True)
class EncoderDescription:
    """Images (B, H, W, C) float32 → features (B, F, D), of a classifier logits (B, K) too.

    Its input is pixels in [0, 1] where the model scales them by itself. Classes may have names, the class 0
    first. One that has `num_units` predicts the pixels of those that noise (B, U) hides.
    """

    image_shape: tuple[Size, Size, Size]
    input: Literal["pixels in [0, 1]", "floats scaled as the encoder was trained"]
    num_features: Size
    feature_dim: Size
    num_classes: Size | None
    num_units: Size | None
    golden: GoldenFeatures
    class_names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        golden, samples = self.golden, len(self.golden.levels)
        check_tensor("encoder.image_shape", self.image_shape)
        check_tensor("encoder's features", (self.num_features, self.feature_dim))
        check_class_names("encoder.class_names", self.class_names, self.num_classes)
        name = "encoder.golden"
        check_array(f"{name}.levels", golden.levels, (samples, *self.image_shape), HIGHEST_LEVEL + 1)
        features = (samples, self.num_features, self.feature_dim)
        check_array(f"{name}.features", golden.features, features)
        if self.num_classes is not None or golden.logits is not None:
            check_array(f"{name}.logits", golden.logits, (samples, self.num_classes or 0))
        if self.num_units is not None or golden.noise is not None or golden.reconstruction is not None:
            check_array(f"{name}.noise", golden.noise, (samples, self.num_units or 0))
            check_array(f"{name}.reconstruction", golden.reconstruction, (samples, *self.image_shape))


def as_pixels(levels: np.ndarray) -> np.ndarray:
    """Levels from 0 to 255 as float32 in [0, 1], in every language the same."""
    return levels.astype("float32") / np.float32(HIGHEST_LEVEL)
