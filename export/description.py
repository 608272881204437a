"""What a manifest says of a model: its priors, and for a generator its images."""

from typing import Any

import numpy as np

from tfprior.export.functions import Function, functions
from tfprior.export.generator_functions import condition_function, generator_functions, prefixes
from tfprior.export.golden import golden_images, golden_rollout
from tfprior.export.verification import golden_condition
from tfprior.generator import Generator
from tfprior.image_model import ImageModel
from tfprior.priors import AutoregressivePrior


def functions_of(model: ImageModel) -> list[Function]:
    """Every function of the model's bundle."""
    return functions(model.chain()[0]) if model.tokenizer is None else generator_functions(model)


def describe_priors(model: ImageModel) -> list[dict[str, Any]]:
    """Each prior, coarse to fine, with a golden rollout given the one above."""
    described: list[dict[str, Any]] = []
    for prefix, prior in zip(prefixes(model), model.chain(), strict=True):
        condition, coarser = condition_kind(prior), None
        if described:
            above = np.asarray(described[-1]["golden"]["values"], "int32")
            coarser = np.asarray(model.condition_of([above], None))
            condition = {**(condition or {}), "function": condition_function(prefix)}
        described.append(
            {
                "prefix": prefix,
                "grid_shape": list(prior.grid_shape),
                "num_levels": prior.num_levels,
                "num_steps": prior.num_steps,
                "condition": condition,
                "noise": {
                    "distribution": "uniform on [0, 1)",
                    "dtype": "float32",
                    "per_step": prior.distribution.num_uniforms(prior.grid_shape[-1]),
                },
                "golden": golden_rollout(prior, coarser),
            }
        )
    return described


def describe_images(generator: Generator, priors: list[dict[str, Any]]) -> dict[str, Any]:
    """The images of a generator, with those of the golden codes."""
    tokenizer = generator.tokenizer
    grids = [np.asarray(prior["golden"]["values"], "int32") for prior in priors]
    return {
        "shape": list(tokenizer.image_shape),
        "num_levels": tokenizer.num_levels,
        "golden": golden_images(generator, tokenizer.codes_of(grids), golden_condition(priors[0])),
    }


def condition_kind(prior: AutoregressivePrior) -> dict[str, Any] | None:
    """The manifest's words for the condition; None for an unconditional prior."""
    if prior.num_classes is not None:
        return {"kind": "label", "num_classes": prior.num_classes}
    if prior.condition_shape is not None:
        return {
            "kind": "vector" if len(prior.condition_shape) == 1 else "map",
            "shape": list(prior.condition_shape),
        }
    return None
