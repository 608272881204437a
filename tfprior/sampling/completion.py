"""Test images of which a part is hidden and drawn again."""

from typing import Any

import numpy as np

from tfprior.data import Images, spread
from tfprior.image_model import ImageModel


def complete_images(
    model: ImageModel,
    images: Images,
    mask: np.ndarray,
    num: int,
    completions: int,
    seed: int = 0,
    **options: Any,
) -> tuple[np.ndarray, np.ndarray]:
    """`num` test images (N, H, W, C), one of each class in turn, and `completions` of each (N, K, H, W, C).

    Options are those of `tfprior.sampling.sample`.

    Raises:
        ValueError: for a conditional prior and images without labels.
    """
    conditional = model.num_classes is not None
    if conditional and images.y_test is None:
        raise ValueError(f"The prior is conditional and {images.name} has no labels; choose labelled data.")
    index = spread(images.y_test, len(images.x_test))[:num]
    originals = images.x_test[index]
    repeated = originals.repeat(completions, axis=0)
    labels = images.y_test[index].repeat(completions) if conditional and images.y_test is not None else None
    drawn = model.complete(repeated, mask, labels, seed=seed, **options)
    return originals, drawn.reshape(len(originals), completions, *originals.shape[1:])
