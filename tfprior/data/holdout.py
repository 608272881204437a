"""Parts that are held out: to validate on while training, and to test on where data come in one piece."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .images import Images
from .stored import selected

SPLITS = ("train", "validation", "test")


def hold_out(num_images: int, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices of nine tenths for training and one tenth, at least one image, for testing; always the same.

    Raises:
        ValueError: for fewer than two images.
    """
    if num_images < 2:
        raise ValueError(
            f"{source} has {num_images} image to train and to test on; expected at least two: add images."
        )
    # RandomState's stream is frozen for good, unlike a Generator's.
    order = np.random.RandomState(0).permutation(num_images)
    num_test = max(1, round(num_images / 10))
    return np.sort(order[num_test:]), np.sort(order[:num_test])


def hold_out_validation(
    images: Images, fraction: float, limit: int, batch_size: int, seed: int
) -> tuple[Images, Images]:
    """Splits the training part into (what is trained on, what is validated on); both keep the test part away.

    `fraction` of the training images are held out, `limit` at most, in whole batches where there are several,
    so that one compiled evaluation serves all. The same seed holds out the same images.

    Raises:
        ValueError: for a fraction outside (0, 1), or too few images to split.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"validation_fraction={fraction}; expected a number between 0 and 1.")
    count = len(images.x_train)
    held = min(limit, max(1, round(fraction * count)))
    if held > batch_size:
        held -= held % batch_size
    if held >= count:
        raise ValueError(f"Got {count} training images; expected at least 2, to validate on some of them.")
    order = np.random.default_rng(seed).permutation(count)
    train, validation = np.sort(order[held:]), np.sort(order[:held])
    held_out = select_train(images, validation)
    return select_train(images, train), dataclasses.replace(held_out, x_train=np.asarray(held_out.x_train))


def select_train(images: Images, index: np.ndarray) -> Images:
    """The data set with only these training images."""
    labels = None if images.y_train is None else images.y_train[index]
    return dataclasses.replace(images, x_train=selected(images.x_train, index), y_train=labels)


def split_of(images: Images, split: str, options: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
    """(values, labels) of "test", or of what a run with these options trained or validated on.

    Raises:
        ValueError: for another split, or an empty one.
    """
    if split not in SPLITS:
        raise ValueError(f"Unknown split {split!r}; expected one of {', '.join(SPLITS)}.")
    if split == "test":
        values, labels = images.x_test, images.y_test
    else:
        names = ("validation_fraction", "validation_limit", "batch_size", "seed")
        parts = hold_out_validation(images, *(options[name] for name in names))
        part = parts[split == "validation"]
        values, labels = part.x_train, part.y_train
    if not len(values):
        raise ValueError(f"The {split} part of {images.name} holds no images; choose another split.")
    return np.asarray(values), labels
