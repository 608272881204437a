"""Likelihood of a part of the data: exact for a prior, a bound for a tokenizer."""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfprior.float32_copies import in_float32
from tfprior.generator import Generator
from tfprior.grid_model import GridModel

ConditionMap = Callable[[np.ndarray], np.ndarray]


def inputs_of(
    model: GridModel,
    values: np.ndarray,
    labels: np.ndarray | None,
    batch_size: int,
    condition_map: ConditionMap | None = None,
) -> dict[str, Any]:
    """What `fit` validates on and `evaluate` measures, as "x" and "batch_size".

    Those are the values, with the labels for a conditional prior; where there is a `condition_map`, batches
    of values with the condition that it makes of what stands for the labels.

    Raises:
        ValueError: for a conditional prior and images without labels.
    """
    if condition_map is not None:
        from tfprior.data.pipeline import batches, mapped

        condition_of = mapped(condition_map, labels)

        def conditioned(batch: Any, seed: Any) -> Any:
            return {**batch, "condition": condition_of(batch["condition"])}

        examples = {"values": values, "condition": labels}
        return {"x": batches(examples, batch_size, shuffle=False, seed=0, change=conditioned).of_one_epoch}
    if model.num_classes is None:
        return {"x": values, "batch_size": batch_size}
    if labels is None:
        raise ValueError(
            "The prior is conditional and the images have no labels; train with --unconditional, or choose "
            "labelled data."
        )
    return {"x": {"values": values, "condition": labels}, "batch_size": batch_size}


def scores_of(
    model: GridModel,
    values: np.ndarray,
    labels: np.ndarray | None = None,
    batch_size: int = 256,
    condition_map: ConditionMap | None = None,
) -> dict[str, float]:
    """All that the model, in float32, reports of the images but the loss, its main score first.

    `condition_map` makes the condition of codes of a finer grid of the coarser ones in place of the labels.

    Raises:
        ValueError: for images or labels that the model was not built for.
    """
    model = in_float32(model)
    if not model.compiled:
        model.compile(jit_compile=False)
    inputs = inputs_of(model, values, labels, batch_size, condition_map)
    scores = model.evaluate(**inputs, return_dict=True, verbose=0)
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


def bound_scores(generator: Generator, values: np.ndarray, labels: np.ndarray | None) -> dict[str, float]:
    """Upper bounds of bits per dimension of images: with the priors of their codes, and with uniform codes.

    Raises:
        ValueError: for images or labels that the generator was not built for.
    """
    bound = float(np.mean(generator.bits_per_dim(values, labels if generator.num_classes else None)))
    name = (
        "this prior and its tokenizer" if len(generator.priors) == 1 else "these priors and their tokenizer"
    )
    return {name: bound, "the tokenizer, uniform codes": bits_per_dim(generator.tokenizer, values)}
