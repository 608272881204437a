"""What a manifest says of a model: its priors, and for a generator its images."""

import math
from typing import Any, Literal

import numpy as np

from tfprior.export.encoder_functions import AroundEncoder, encoder_of
from tfprior.export.functions import functions
from tfprior.export.generator_functions import condition_function, generator_functions, prefixes
from tfprior.export.golden import golden_images, golden_rollout, random_condition
from tfprior.export.guidance import is_guided
from tfprior.export.manifest import ImagesDescription, WeightsDescription, kind_of_pixels
from tfprior.export.narrow_weights import WeightType
from tfprior.export.ports import FunctionDescription, PortDescription
from tfprior.export.prior_description import (
    CacheDescription,
    ConditionDescription,
    NoiseDescription,
    PriorDescription,
)
from tfprior.export.signatures import Function, draws_in_any_order
from tfprior.export.verification import golden_condition
from tfprior.generator import Generator
from tfprior.image_model import ImageModel
from tfprior.priors import MaskedPrior, Prior, TransformerPrior

MEASURED = 32
"""Images by which rounded weights are compared with those before."""


def functions_of(model: ImageModel) -> list[Function]:
    """Every function of the model's bundle."""
    return functions(model.chain()[0]) if model.tokenizer is None else generator_functions(model)


def describe_function(function: Function) -> FunctionDescription:
    inputs, outputs = (
        tuple(PortDescription(port.name, port.dtype, ("batch", *port.shape), port.meaning) for port in ports)
        for ports in (function.inputs, function.outputs)
    )
    return FunctionDescription(inputs, outputs)


def describe_priors(
    model: ImageModel, class_names: tuple[str, ...] | None = None
) -> tuple[PriorDescription, ...]:
    """Each prior, coarse to fine, with a golden rollout given that above; the first one has the names."""
    described: list[PriorDescription] = []
    for prefix, prior in zip(prefixes(model), model.chain(), strict=True):
        coarser, made_by = None, None
        if described:
            coarser = np.asarray(model.condition_of([described[-1].golden.values], None))
            made_by = condition_function(prefix)
        described.append(
            PriorDescription(
                prefix=prefix,
                grid_shape=prior.grid_shape,
                num_levels=prior.num_levels,
                num_steps=prior.num_steps,
                orders="any" if draws_in_any_order(prior) else "raster",
                condition=describe_condition(prior, made_by, None if described else class_names),
                noise=NoiseDescription(prior.distribution.num_uniforms(prior.grid_shape[-1])),
                cache=describe_cache(prior),
                hidden_apart=prior.channel_groups if isinstance(prior, MaskedPrior) else None,
                golden=golden_rollout(prior, coarser, in_raster_order=model.tokenizer is not None),
                end_value=prior.end_value,
            )
        )
    return tuple(described)


def describe_images(generator: Generator, priors: tuple[PriorDescription, ...]) -> ImagesDescription:
    """The images of a generator, with those of the golden codes."""
    tokenizer = generator.tokenizer
    codes = tokenizer.codes_of([prior.golden.values for prior in priors])
    return ImagesDescription(
        shape=tokenizer.image_shape,
        num_levels=tokenizer.num_levels,
        golden=golden_images(generator, codes, golden_condition(priors[0])),
    )


def describe_pixels(model: ImageModel | AroundEncoder) -> Literal["grey", "RGB"] | None:
    """What the images are; None of a prior of sequences, which are grids of one row."""
    if not isinstance(model, ImageModel):
        return kind_of_pixels(encoder_of(model).image_shape)
    return None if model.grid_shape[0] == 1 else kind_of_pixels(model.grid_shape)


def describe_weights(original: Any, model: Any, weight_type: WeightType) -> WeightsDescription | None:
    """What `model`, the original with rounded weights, lost on images that the original draws."""
    if weight_type == "float32":
        return None
    if not isinstance(original, ImageModel):
        return WeightsDescription(weight_type, None)
    condition = random_condition(original.chain()[0], MEASURED, np.random.default_rng(0))
    drawn = original.sample(MEASURED, condition, seed=0, **original.sketching)
    before, after = (each.log_prob(drawn, condition).mean(dtype="float64") for each in (original, model))
    added = float(before - after) / (math.log(2) * original.num_dims)
    return WeightsDescription(weight_type, round(added, 6))


def describe_cache(prior: Prior) -> CacheDescription | None:
    """The keys and values that steps hand on; None for priors whose state is packed."""
    if not isinstance(prior, TransformerPrior):
        return None
    head_dim = prior.hidden_dim // prior.num_heads * (2 if is_guided(prior) else 1)
    return CacheDescription(len(prior.caching), prior.num_heads, head_dim, prior.channel_groups)


def describe_condition(
    prior: Prior, made_by: str | None = None, class_names: tuple[str, ...] | None = None
) -> ConditionDescription | None:
    """The manifest's words for the condition; None for an unconditional prior."""
    kind = prior.condition_kind
    if kind is None:
        return None
    if kind.is_label:
        return ConditionDescription(
            "label", num_classes=kind.num_levels, function=made_by, class_names=class_names
        )
    if kind.is_source:
        return ConditionDescription(
            "source", shape=kind.shape, function=made_by, num_levels=kind.num_levels, padding=kind.padding
        )
    name: Literal["vector", "map"] = "vector" if len(kind.shape) == 1 else "map"
    return ConditionDescription(name, shape=kind.shape, function=made_by)
