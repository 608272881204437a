"""Drawing images from a prior of images, or from a prior of codes through its tokenizer."""

from typing import Any

import numpy as np

from tfprior import sampling
from tfprior.generator import Generator, image_model
from tfprior.priors.base import Prior
from tfprior.tokenizers.base import as_levels

Drawable = Prior | Generator


def draw(
    model: Drawable, num_samples: int, labels: np.ndarray | None, seed: int, **options: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images (N, H, W, C) int32, and the codes (N, h, w, G) that they come from, where they do.

    Options are those of `tfprior.sampling.sample`.

    Raises:
        ValueError: for arguments of the wrong shape, type or range.
    """
    if not isinstance(model, Generator):
        return sampling.sample(model, num_samples, labels, seed=seed, **options), None
    codes = model.sample_codes(num_samples, labels, seed=seed, **options)
    return as_levels(model.tokenizer.decode(codes)), codes


def complete(
    model: Drawable,
    images: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray | None,
    seed: int,
    **options: Any,
) -> np.ndarray:
    """The images (N, H, W, C) with what is hidden, True in `mask` (H, W), drawn anew.

    Raises:
        ValueError: for arguments of the wrong shape, type or range.
    """
    if isinstance(model, Generator):
        return model.complete(images, mask, labels, seed=seed, **options)
    return draw(model, len(images), labels, seed, observed=images, mask=mask, **options)[0]


def num_levels_of(model: Drawable) -> int:
    """Of the images that are drawn."""
    return image_model(model).distribution.num_levels
