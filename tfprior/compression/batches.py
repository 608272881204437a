"""One loop for both sides of a compression: all images, in batches of one size."""

from typing import NamedTuple

import numpy as np

from tfprior.compression.coder import Coder
from tfprior.compression.images import code_images, num_ticks
from tfprior.compression.interruption import interruptible
from tfprior.image_model import ImageModel
from tfprior.progress import progress_bar


class Contents(NamedTuple):
    """What a file holds: images (N, H, W, C) int32, and of a class-conditional model labels (N,) int32."""

    images: np.ndarray
    labels: np.ndarray | None


def code_batches(
    model: ImageModel,
    coder: Coder,
    known: Contents | None,
    condition: np.ndarray | None,
    count: int,
    batch_size: int,
    description: str | None,
    order: np.ndarray | None = None,
) -> Contents:
    """Leads either side through all batches, of each the labels first.

    Args:
        model: a prior or a generator.
        coder: either side.
        known: what is encoded; None on the decoding side.
        condition: vectors or maps of all images, for a model that is conditioned on them.
        count: how many images.
        batch_size: images in a batch; the last one is filled up.
        description: of the bar that is shown; None for no bar.
        order: of the pixels (P,), of an any-order prior; None for raster order.
    """
    num_classes = model.num_classes
    images: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    ticks = -(-count // batch_size) * num_ticks(model)
    bar = progress_bar(description or "", ticks, shown=description is not None)
    with interruptible() as check, bar as move:

        def tick() -> None:
            check()
            move()

        for first in range(0, count, batch_size):
            rows = slice(first, min(first + batch_size, count))
            size = rows.stop - first
            its_images = None if known is None else known.images[rows]
            its_condition = None if condition is None else condition[rows]
            if num_classes is not None:
                its_labels = None if known is None or known.labels is None else known.labels[rows]
                its_condition = _code_labels(coder, its_labels, size, num_classes)
                labels.append(its_condition)
            if its_condition is not None:
                its_condition = its_condition[np.minimum(np.arange(batch_size), size - 1)]
            batch = code_images(model, coder, its_images, size, batch_size, its_condition, tick, order)
            images.append(batch[:size])
    return Contents(np.concatenate(images), np.concatenate(labels) if labels else None)


def _code_labels(coder: Coder, labels: np.ndarray | None, count: int, num_classes: int) -> np.ndarray:
    """Every class as probable as any other."""
    if num_classes == 1:
        return np.zeros(count, "int32")
    return coder(np.full((count, num_classes), 1 / num_classes), labels)
