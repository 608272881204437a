"""Models from descriptions in words and numbers, as a run's config.json holds them."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfprior.data import Images
from tfprior.distributions import (
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    OutputDistribution,
)
from tfprior.masked_images import MaskedImages
from tfprior.priors.base import Prior
from tfprior.quantizers import VectorQuantizer
from tfprior.registry.encoders import EncoderSizes
from tfprior.registry.models import OUTPUTS, model_named
from tfprior.tokenizers.base import Tokenizer

CODE_EMBEDDING_DIM = 64
COMPONENTS = 10
GAUSSIAN_SCALE = 0.1
SEEN = 4096  # images that means are taken over


def described(images: Images, model: Mapping[str, Any]) -> dict[str, Any]:
    """The description with every option of the model: what it leaves out is the default for these images.

    Raises:
        ValueError: for an unknown name or option.
    """
    entry = model_named(model.get("name"))
    options = {name: option.default for name, option in entry.options.items()}
    unknown = sorted(set(model) - {"name", *options})
    if unknown:
        raise ValueError(
            f"{entry.name} has no option {', '.join(unknown)}; expected some of {', '.join(options)}."
        )
    defaults = {**options}
    if "output" in options:
        defaults["output"] = "categorical" if images.are_codes else entry.output
    if images.are_codes and "value_embedding_dim" in options:
        defaults["value_embedding_dim"] = CODE_EMBEDDING_DIM
    description = {"name": entry.name, **defaults, **model}
    if description.get("output") == "logistic_mixture" and description["num_components"] is None:
        description["num_components"] = COMPONENTS
    return description


def build_model(
    images: Images,
    model: Mapping[str, Any],
    condition_shape: tuple[int, ...] | None = None,
    precision: str | None = None,
) -> Prior | Tokenizer | MaskedImages:
    """The prior, tokenizer or encoder in training that `model` describes, for the data's grid and levels.

    `model` has a "name" of `tfprior.registry.MODELS` and options of that model; `described` tells what holds
    where it has none. A prior of a finer grid of codes has the `condition_shape` of what the tokenizer makes
    of the coarser ones. `precision` is Keras's policy for its layers; the global one when left out.

    Raises:
        ValueError: for unknown names or options, and data that do not fit.
    """
    kind = model_named(model.get("name")).kind
    if kind == "prior":
        return build_prior(images, model, condition_shape, precision)
    if kind == "encoder":
        return build_encoder(images, model, precision)
    return build_tokenizer(images, model, precision)


def build_prior(
    images: Images,
    model: Mapping[str, Any],
    condition_shape: tuple[int, ...] | None = None,
    precision: str | None = None,
) -> Prior:
    """`build_model` of a prior.

    Raises:
        ValueError: for unknown names or options, a conditional prior of data without labels, and codes with
            another output than categorical.
    """
    kind, distribution, options = parts_of(images, model, "prior")
    if images.are_codes and not isinstance(distribution, Categorical):
        raise ValueError(f"{images.name} holds codes, which have no order; expected a categorical output.")
    conditional = options.pop("conditional", False)
    if conditional and images.are_finer:
        raise ValueError(
            f"{images.name} holds codes that are conditioned on coarser ones, not on classes; train with "
            "--unconditional (conditional=False)."
        )
    if conditional and images.num_classes is None:
        raise ValueError(f"{images.name} has no labels; train with --unconditional (conditional=False).")
    condition: dict[str, Any] = {"num_classes": images.num_classes} if conditional else {}
    if condition_shape is not None:
        condition = {"condition_shape": condition_shape}
    prior: Prior = kind(images.grid_shape, distribution, **condition, **options, dtype=precision)
    return prior


def build_tokenizer(images: Images, model: Mapping[str, Any], precision: str | None = None) -> Tokenizer:
    """`build_model` of a tokenizer, with a `VectorQuantizer` for each grid of codes.

    Raises:
        ValueError: for unknown names or options, and codes instead of images.
    """
    kind, distribution, options = parts_of(images, model, "tokenizer")
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes; expected images for a tokenizer.")
    entry = model_named(model["name"])
    codebook = {name: options.pop(name) for name in entry.quantizer_options}
    quantizers = {name: VectorQuantizer(**codebook) for name in entry.declaration.quantizers}
    tokenizer: Tokenizer = kind(
        images.grid_shape, distribution=distribution, **quantizers, **options, dtype=precision
    )
    return tokenizer


def build_encoder(images: Images, model: Mapping[str, Any], precision: str | None = None) -> MaskedImages:
    """`build_model` of what pre-trains an encoder, to which pixels come with mean 0 and deviation 1.

    Raises:
        ValueError: for unknown names or options, codes instead of images, and sizes that do not fit.
    """
    options = described(images, model)
    entry = model_named(options.pop("name"))
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes; expected images for an encoder.")
    sizes = EncoderSizes(**{name: options.pop(name) for name in entry.encoder_options})
    mean, std = channel_moments(images)
    masked = entry.load()(sizes.build(images.grid_shape, precision), mean=mean, std=std, **options)
    return MaskedImages(masked, images.num_levels)


def channel_moments(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel of pixels in [0, 1], to four digits, over some training images."""
    count = len(images.x_train)
    some = images.x_train[np.linspace(0, count - 1, min(count, SEEN)).astype(int)] / (images.num_levels - 1)
    mean, std = some.mean(axis=(0, 1, 2)), some.std(axis=(0, 1, 2))
    return tuple(round(float(each), 4) for each in mean), tuple(round(float(each), 4) or 1.0 for each in std)


def parts_of(
    images: Images, model: Mapping[str, Any], kind: str
) -> tuple[type[Any], OutputDistribution, dict[str, Any]]:
    """Class, output distribution and all other options of what is described."""
    options = described(images, model)
    entry = model_named(options.pop("name"))
    if entry.kind != kind:
        raise ValueError(f"{entry.name} is a {entry.kind}; expected a {kind}.")
    output, components = options.pop("output"), options.pop("num_components")
    return entry.load(), output_distribution(images.num_levels, output, components), options


def output_distribution(
    num_levels: int, output: str, num_components: int | None = None
) -> OutputDistribution:
    """The distribution of that name; a mixture has ten components where no number is given.

    Raises:
        ValueError: for an unknown name, and a number of components without a mixture.
    """
    if output not in OUTPUTS:
        raise ValueError(f"Unknown output {output!r}; expected one of {', '.join(OUTPUTS)}.")
    if output == "logistic_mixture":
        components = COMPONENTS if num_components is None else num_components
        return DiscretizedLogisticMixture(components, num_levels)
    if num_components is not None:
        raise ValueError(f"num_components={num_components}; a {output} output has none: leave it out.")
    if output == "gaussian":
        return Gaussian(num_levels, max(GAUSSIAN_SCALE, 2 / (num_levels - 1)))
    return Categorical(num_levels) if output == "categorical" else DiscretizedLogistic(num_levels)
