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
    patches = ops.cast(predicted.patches, "float32")
    if model.norm_pix:
        mean, deviation = moments(patches_of(scaled, model.stride))
        patches = patches * deviation + mean
    guess = model.scaling.undone(images_of(patches, model.stride, model.encoder.feature_size))
    hidden = ops.reshape(predicted.hidden, (-1, *model.unit_map))
    hidden = ops.repeat(ops.repeat(hidden, model.unit_size, axis=1), model.unit_size, axis=2)
    arrays = (model.scaling.undone(scaled), guess, hidden)
    images, guess, hidden = (ops.convert_to_numpy(each) for each in arrays)
    where = hidden[..., None]
    masked = np.where(where, np.asarray(model.mean, "float32"), images)
    return Reconstruction(images, masked, np.where(where, guess, images), hidden)
