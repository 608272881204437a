"""Test images of which a part is hidden and drawn again."""

from typing import Any

import numpy as np

from tfprior.data import Images
from tfprior.image_model import ImageModel


def hidden_part(keep: str, grid_shape: tuple[int, int, int]) -> np.ndarray:
    """(H, W), True where hidden, for "top", "bottom", "left", "right", or a fraction kept from the top.

    Raises:
        ValueError: for anything else.
    """
    height, width, _ = grid_shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    halves = {
        "top": rows >= (height + 1) // 2,
        "bottom": rows < height // 2,
        "left": columns >= (width + 1) // 2,
        "right": columns < width // 2,
    }
    if keep in halves:
        return np.broadcast_to(halves[keep], (height, width))
    try:
        kept = round(float(keep) * height)
    except (ValueError, OverflowError):
        kept = -1
    if not 0 <= kept < height:
        raise ValueError(f"keep={keep!r}; expected {', '.join(halves)}, or a fraction from 0 to below 1.")
    return np.broadcast_to(rows >= kept, (height, width))


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


def spread(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Indices in an order that goes through the classes in turn; as they are without labels."""
    if labels is None:
        return np.arange(count)
    nth = np.zeros(count, int)
    for label in np.unique(labels):
        members = labels == label
        nth[members] = np.arange(members.sum())
    return np.lexsort((labels, nth))
