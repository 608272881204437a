"""The contract of masked image modelling.

Shapes: B batch · N images · H W C image · U units, squares that are hidden or visible as a whole · s side of
the patches that are predicted, as far as places of the encoder's map stand apart · M of these patches.
"""

import abc
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.inputs import as_array, check_sizes, concrete, name_of, shape_of
from tfprior.layers.image_scaling import ImageScaling
from tfprior.layers.patches import map_size
from tfprior.pretraining.fitting import FittedOnImages
from tfprior.pretraining.masking import num_hidden
from tfprior.pretraining.pixels import Reconstruction, reconstructed

Tensor = Any
LARGEST = 30
"""More than images have that are scaled in any usual way, and less than levels."""


class Predicted(NamedTuple):
    """What `call` makes of images (B, H, W, C).

    Attributes:
        patches: predicted pixels (B, M, s · s · C).
        hidden: which units were hidden (B, U) bool.
    """

    patches: Tensor
    hidden: Tensor


class MaskedImageModel(FittedOnImages, abc.ABC):
    """Learns an encoder by predicting the pixels of hidden parts from visible ones.

        images ── scaling ── hide by noise ── encoder ── decoder ── pixels; the loss is of hidden ones

    `compile(optimizer)` and `fit(images)` need no loss; labels beside the images are not looked at. Images
    are uint8, or floats in [0, 1]; `scaling` is how the encoder sees them, in pre-training and later. Masks
    are a function of noise: in training it is drawn for each step, in evaluation it is the same each time.

    `.encoder` is the one that was given, and learns in place.

    Args:
        encoder: of the images.
        unit_size: side of a unit in pixels.
        mask_ratio: share of the units that is hidden, rounded up to whole ones.
        norm_pix: whether pixels are predicted relative to the mean and deviation of their patch.
        mean, std: of `ImageScaling`.

    Attributes:
        unit_map: rows and columns of units.
        num_units: U.
        num_visible: units of an image that are visible.
        stride: s.

    Raises:
        ValueError: for a ratio that hides nothing or all, units that do not fill the image or that patches do
            not fill, and images that the encoder's map does not divide.
    """

    def __init__(
        self,
        encoder: Encoder,
        unit_size: int,
        mask_ratio: float,
        norm_pix: bool,
        mean: float | Sequence[float] = 0.0,
        std: float | Sequence[float] = 1.0,
        **kwargs: Any,
    ) -> None:
        # Images and noise come whole, whatever the layers compute in.
        super().__init__(**{"dtype": encoder.dtype_policy, "autocast": False, **kwargs})
        kind, patch = type(self).__name__, encoder.patch_size
        check_sizes(kind, unit_size=unit_size)
        self.encoder = encoder
        self.unit_size = unit_size
        self.mask_ratio = mask_ratio
        self.norm_pix = norm_pix
        self.mean, self.std = mean, std
        self.stride = self._stride()
        if unit_size % patch:
            raise ValueError(
                f"{kind} got unit_size={unit_size}; expected a multiple of the patches' {patch}."
            )
        height, width = size = encoder.image_shape[:2]
        if height % unit_size or width % unit_size:
            raise ValueError(
                f"{kind} got images of {height} × {width} for unit_size={unit_size}; expected height and "
                "width divisible by the unit: choose another unit_size or other images."
            )
        self.unit_map = map_size(size, unit_size)
        self.num_units = self.unit_map[0] * self.unit_map[1]
        self.num_visible = self.num_units - num_hidden(self.num_units, mask_ratio)
        self.scaling = ImageScaling(mean, std, name="scaling", dtype="float32")
        self.scaling.build((None, *encoder.image_shape))

    def _stride(self) -> int:
        (height, width, _), (down, across) = self.encoder.image_shape, self.encoder.feature_size
        stride = -(-height // down)
        if (down * stride, across * stride) != (height, width):
            raise ValueError(
                f"{type(self).__name__} got an encoder with a map of {down} × {across} for images of "
                f"{height} × {width}; expected one that divides them: choose height and width divisible by "
                f"{stride}."
            )
        return stride

    @property
    def num_pixels(self) -> int:
        """s · s · C, of a patch."""
        return self.stride**2 * self.encoder.image_shape[2]

    # One pass

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> Any:
        """What `call` makes of images.

        Raises:
            ValueError: for images of another shape than the encoder's or another type, and such noise.
        """
        images = as_array(images)
        self.check_images(images)
        if kwargs.get("noise") is not None:
            kwargs["noise"] = as_array(kwargs["noise"])
            self.check_noise(kwargs["noise"], images.shape[0])
        return super().__call__(images, *args, **kwargs)

    def call(self, images: Tensor, training: bool = False, noise: Tensor | None = None) -> Predicted:
        """Images (B, H, W, C), and noise (B, U), (1, U) where a batch shares its mask → Predicted."""
        return self.predict_hidden(self.scaling(images), self.mask(noise, ops.shape(images)[0], training))

    @abc.abstractmethod
    def mask(self, noise: Tensor | None, count: Any, training: bool) -> Any:
        """What `predict_hidden` hides of so many images: by the noise, else drawn or that of evaluation."""

    @abc.abstractmethod
    def predict_hidden(self, images: Tensor, mask: Any) -> Predicted:
        """Scaled images and what is to be hidden of them → Predicted."""

    @staticmethod
    @abc.abstractmethod
    def error(differences: Tensor) -> Tensor:
        """Of each pixel."""

    def predict_by_noise(self, images: Tensor, noise: Tensor) -> Predicted:
        """What `call` makes of images by noise (B, U), in graphs too."""
        return self.predict_hidden(self.scaling(images), noise)

    # Pictures

    def reconstruct(self, images: Any, noise: Any = None, batch_size: int = 64) -> Reconstruction:
        """Images (N, H, W, C) with their hidden parts predicted; noise (N, U) decides which are hidden.

        Without noise they are those of evaluation. A batch that shares its mask takes noise (1, U). With
        `norm_pix` predictions get the mean and deviation of the patch as it is, which no model has seen.

        Raises:
            ValueError: for images or noise of the wrong shape or type.
        """
        images, noise = as_array(images), as_array(noise)
        self.check_images(images)
        if noise is not None:
            self.check_noise(noise, len(images))
        parts = []
        for first in range(0, len(images), batch_size):
            rows = slice(first, first + batch_size)
            own = noise if noise is None or self.shares_mask else noise[rows]
            predicted = self(images[rows], noise=own)
            parts.append(reconstructed(self, self.scaling(images[rows]), predicted))
        return Reconstruction(*map(np.concatenate, zip(*parts, strict=True)))

    # What is taken

    def check_images(self, images: Any) -> None:
        """Raises ValueError unless they are uint8 or floats of the shape that the encoder was built for."""
        kind = name_of(images.dtype)
        if kind != "uint8" and "float" not in kind:
            raise ValueError(
                f"{type(self).__name__} got images of {kind}; expected uint8, or floats in [0, 1]: "
                "images.astype('uint8') where they are levels from 0 to 255."
            )
        self.encoder.check_shape(shape_of(images, "Images"))

    def check_range(self, images: Any) -> None:
        """Raises ValueError for floats that are not finite, or far beyond any scale but that of levels."""
        known = concrete(images)
        if known is None or not known.size or known.dtype.kind == "u":
            return
        largest = np.abs(known).max()
        if not largest <= LARGEST:
            raise ValueError(
                f"{type(self).__name__} got floats of up to {largest:g}; expected images in [0, 1]: divide "
                "levels by 255, or pass them as uint8."
            )

    def check_noise(self, noise: Any, count: int | None) -> None:
        """Raises ValueError unless it is floats (B, U), or (1, U) where a batch shares its mask."""
        rows = 1 if self.shares_mask else count
        shape = shape_of(noise, "Noise")
        if "float" not in name_of(noise.dtype) or len(shape) != 2 or shape[1] != self.num_units:
            fits = False
        else:
            fits = rows is None or shape[0] is None or shape[0] == rows
        if not fits:
            raise ValueError(
                f"{type(self).__name__} got noise of {name_of(noise.dtype)} {shape}; expected floats "
                f"({'batch' if rows is None else rows}, {self.num_units}), one for each unit."
            )

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "mask_ratio": self.mask_ratio,
            "mean": self.mean,
            "std": self.std,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MaskedImageModel":
        encoder = keras.saving.deserialize_keras_object(config["encoder"], custom_objects=custom_objects)
        return cls(**{**config, "encoder": encoder})
