"""Pixels that are to be predicted, and images of those that are.

Shapes: N images · B batch · H W C image · U units · s side of a patch that is predicted · M such patches.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfprior.layers.patches import images_of, patches_of


class Reconstruction(NamedTuple):
    """Images (N, H, W, C) float32 in [0, 1], and what became of them.

    Attributes:
        images: as they are.
        masked: hidden pixels have the mean that images are scaled by.
        reconstruction: hidden pixels are predicted; they may lie beyond [0, 1].
        hidden: where pixels are hidden (N, H, W) bool.
    """

    images: np.ndarray
    masked: np.ndarray
    reconstruction: np.ndarray
    hidden: np.ndarray


def normalized(patches: Any) -> Any:
    """Patches (B, M, s · s · C) relative to the mean and deviation of each."""
    mean, deviation = moments(patches)
    return (patches - mean) / deviation


def moments(patches: Any) -> tuple[Any, Any]:
    """Mean and deviation of each patch, as MAE has them: the variance is unbiased, plus 1e-6."""
    mean = ops.mean(patches, axis=-1, keepdims=True)
    squares = ops.sum(ops.square(patches - mean), axis=-1, keepdims=True)
    return mean, ops.sqrt(squares / max(patches.shape[-1] - 1, 1) + np.float32(1e-6))


def reconstructed(model: Any, scaled: Any, predicted: Any) -> Reconstruction:
    """What a `MaskedImageModel` has predicted of scaled images (B, H, W, C)."""
    images = model.scaling.undone(scaled)
    arrays = (images, *completed(model, images, scaled, predicted))
    images, masked, whole, hidden = (ops.convert_to_numpy(each) for each in arrays)
    return Reconstruction(images, masked, whole, hidden[..., 0])


def completed(model: Any, images: Any, scaled: Any, predicted: Any) -> tuple[Any, Any, Any]:
    """Visible pixels of images (B, H, W, C), these with hidden ones predicted, and where those are.

    Tensors, in graphs too.
    """
    patches = ops.cast(predicted.patches, "float32")
    if model.norm_pix:
        mean, deviation = moments(patches_of(scaled, model.stride))
        patches = patches * deviation + mean
    guess = model.scaling.undone(images_of(patches, model.stride, model.encoder.feature_size))
    (down, across), side = model.unit_map, model.unit_size
    units = ops.reshape(ops.cast(predicted.hidden, "float32"), (-1, down, 1, across, 1, 1))
    units = units * np.ones((side, 1, side, 1), "float32")  # few runtimes know how to repeat
    hidden = ops.reshape(units, (-1, down * side, across * side, 1)) > 0
    return (
        ops.where(hidden, np.asarray(model.mean, "float32"), images),
        ops.where(hidden, guess, images),
        hidden,
    )
