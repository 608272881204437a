"""Likelihood of a part of the data: exact for a prior, a bound for a tokenizer."""

import dataclasses
import math
from typing import Any

import numpy as np

from tfprior.data import Images
from tfprior.generator import Generator
from tfprior.grid_model import GridModel

SPLITS = ("train", "validation", "test")


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
    return select_train(images, train), select_train(images, validation)


def select_train(images: Images, index: np.ndarray) -> Images:
    """The data set with only these training images."""
    labels = None if images.y_train is None else images.y_train[index]
    return dataclasses.replace(images, x_train=images.x_train[index], y_train=labels)


def split_of(images: Images, split: str, options: dict[str, Any]) -> tuple[np.ndarray, np.ndarray | None]:
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
    return values, labels


def inputs_of(model: GridModel, values: np.ndarray, labels: np.ndarray | None) -> Any:
    """What `fit` and `evaluate` take: the values, with the labels for a conditional prior.

    Raises:
        ValueError: for a conditional prior and images without labels.
    """
    if model.num_classes is None:
        return values
    if labels is None:
        raise ValueError(
            "The prior is conditional and the images have no labels; train with --unconditional, or choose "
            "labelled data."
        )
    return {"values": values, "condition": labels}


def scores_of(
    model: GridModel, values: np.ndarray, labels: np.ndarray | None = None, batch_size: int = 256
) -> dict[str, float]:
    """All that the model reports of the images, its `bits_per_dim` first.

    Raises:
        ValueError: for images or labels that the model was not built for.
    """
    if not model.compiled:
        model.compile(jit_compile=False)
    inputs = inputs_of(model, values, labels)
    scores = model.evaluate(inputs, batch_size=batch_size, return_dict=True, verbose=0)
    names = ["bits_per_dim", *(name for name in scores if name not in ("bits_per_dim", "loss"))]
    return {name: float(scores[name]) for name in names}


def bits_per_dim(
    model: GridModel, values: np.ndarray, labels: np.ndarray | None = None, batch_size: int = 256
) -> float:
    """Mean bits per dimension of the images: exact for a prior, the bound for a tokenizer.

    Raises:
        ValueError: for images or labels that the model was not built for.
    """
    return scores_of(model, values, labels, batch_size)["bits_per_dim"]


def bound_scores(
    generator: Generator, values: np.ndarray, labels: np.ndarray | None, bits_per_code: float
) -> dict[str, float]:
    """Upper bounds of bits per dimension of images: with the prior of their codes, and with uniform codes.

    `bits_per_code` is what the prior needs for the codes of these images.

    Raises:
        ValueError: for images or labels that the generator was not built for.
    """
    tokenizer = generator.tokenizer
    bound = float(np.mean(generator.bits_per_dim(values, labels if generator.num_classes else None)))
    num_codes = sum(math.prod(shape) for shape in tokenizer.code_shapes)
    saved = tokenizer.code_nats / math.log(2) - num_codes * bits_per_code
    return {
        "this prior and its tokenizer": bound,
        "the tokenizer, uniform codes": bound + saved / tokenizer.num_dims,
    }
