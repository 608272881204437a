"""Likelihood of a part of the data: exact for a prior, a bound for a tokenizer."""

import math
from typing import Any

import numpy as np

from tfprior.generator import Generator
from tfprior.grid_model import GridModel


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
    """All that the model reports of the images but the loss, its main score first.

    Raises:
        ValueError: for images or labels that the model was not built for.
    """
    if not model.compiled:
        model.compile(jit_compile=False)
    inputs = inputs_of(model, values, labels)
    scores = model.evaluate(inputs, batch_size=batch_size, return_dict=True, verbose=0)
    main = model.scores[0].name
    names = [main, *(name for name in scores if name not in (main, "loss"))]
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
