"""Images of which a part is hidden and drawn again."""

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
    labels = images.y_test[index] if conditional and images.y_test is not None else None
    return originals, completions_of(model, originals, mask, completions, labels, seed=seed, **options)


def completions_of(
    model: ImageModel, images: np.ndarray, mask: np.ndarray, num: int, condition: Any = None, **options: Any
) -> np.ndarray:
    """`num` completions of each image (N, H, W, C): (N, K, H, W, C); options are those of `complete`."""
    repeated = images.repeat(num, axis=0)
    conditions = None if condition is None else np.asarray(condition).repeat(num, axis=0)
    drawn = model.complete(repeated, mask, conditions, **options)
    return drawn.reshape(len(images), num, *images.shape[1:])
