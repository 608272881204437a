"""Models from descriptions in words and numbers, as a run's config.json holds them."""

import inspect
from collections.abc import Mapping
from typing import Any

from tfprior.data import Images
from tfprior.distributions import (
    Categorical,
    DiscretizedLogistic,
    DiscretizedLogisticMixture,
    Gaussian,
    OutputDistribution,
)
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.priors.base import Prior
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE
from tfprior.tokenizers.base import Tokenizer

PRIORS: dict[str, type[Prior]] = {
    "gated_pixel_cnn": GatedPixelCNN,
    "pixel_cnn": PixelCNN,
    "pixelcnn_pp": PixelCNNPP,
}
TOKENIZERS: dict[str, type[Tokenizer]] = {"vq_vae": VQVAE}
OUTPUTS = ("categorical", "logistic", "logistic_mixture", "gaussian")
CODEBOOK = {"codebook_size": 512, "code_dim": 64}
GAUSSIAN_SCALE = 0.1


def build_model(images: Images, model: Mapping[str, Any]) -> Prior | Tokenizer:
    """What `model` describes: a prior, or where its "name" says vq_vae a tokenizer.

    Raises:
        ValueError: for unknown names or options, and data that do not fit.
    """
    name = model.get("name")
    if name not in PRIORS and name not in TOKENIZERS:
        raise ValueError(f"Unknown model {name!r}; expected one of {', '.join((*PRIORS, *TOKENIZERS))}.")
    return build_tokenizer(images, model) if name in TOKENIZERS else build_prior(images, model)


def build_prior(images: Images, model: Mapping[str, Any]) -> Prior:
    """The prior that `model` describes, for the grid and levels of the data.

    `model` has a "name" (gated_pixel_cnn, pixel_cnn or pixelcnn_pp), "conditional", "output" (categorical,
    logistic, logistic_mixture with "num_components", or gaussian), and the constructor's own options.

    Raises:
        ValueError: for unknown names or options, a conditional prior of data without labels, and codes with
            another output than categorical.
    """
    options = dict(model)
    name, conditional = options.pop("name", None), options.pop("conditional", False)
    output = options.pop("output", "categorical")
    distribution = output_distribution(images.num_levels, output, options.pop("num_components", None))
    if name not in PRIORS:
        raise ValueError(f"Unknown prior {name!r}; expected one of {', '.join(PRIORS)}.")
    check_options(name, options, PRIORS[name])
    if images.are_codes and output != "categorical":
        raise ValueError(f"{images.name} holds codes, which have no order; expected a categorical output.")
    if conditional and images.num_classes is None:
        raise ValueError(f"{images.name} has no labels; train with --unconditional (conditional=False).")
    classes = images.num_classes if conditional else None
    return PRIORS[name](images.grid_shape, distribution, num_classes=classes, **options)


def build_tokenizer(images: Images, model: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer that `model` describes, for the size and levels of the images.

    `model` has a "name" (vq_vae), "output" and "num_components" as in `build_prior`, logistic_mixture by
    default, and the options of `VQVAE` and of its `VectorQuantizer`: 512 codes of 64 numbers by default.

    Raises:
        ValueError: for unknown names or options, codes instead of images, and a condition.
    """
    options = dict(model)
    name, conditional = options.pop("name", None), options.pop("conditional", False)
    output = options.pop("output", "logistic_mixture")
    distribution = output_distribution(images.num_levels, output, options.pop("num_components", None))
    if name not in TOKENIZERS:
        raise ValueError(f"Unknown tokenizer {name!r}; expected one of {', '.join(TOKENIZERS)}.")
    check_options(name, options, TOKENIZERS[name], VectorQuantizer)
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes; expected images for a tokenizer.")
    if conditional:
        raise ValueError(
            f"{name} is a tokenizer and has no condition; train it with --unconditional (conditional=False), "
            "and the prior of its codes with one."
        )
    of_codebook = inspect.signature(VectorQuantizer).parameters
    codebook = {**CODEBOOK, **{key: value for key, value in options.items() if key in of_codebook}}
    network = {key: value for key, value in options.items() if key not in of_codebook}
    return TOKENIZERS[name](
        images.grid_shape, quantizer=VectorQuantizer(**codebook), distribution=distribution, **network
    )


def check_options(name: str, options: Mapping[str, Any], *classes: type) -> None:
    """Raises ValueError for an option that no constructor of the classes has."""
    known = {option for each in classes for option in inspect.signature(each).parameters}
    unknown = sorted(set(options) - known)
    if unknown:
        raise ValueError(f"{name} has no option {', '.join(unknown)}; see help({classes[0].__name__}).")


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
        return DiscretizedLogisticMixture(num_components or 10, num_levels)
    if num_components is not None:
        raise ValueError(f"Got {num_components} components for a {output} output; it has none.")
    if output == "gaussian":
        return Gaussian(num_levels, max(GAUSSIAN_SCALE, 2 / (num_levels - 1)))
    return Categorical(num_levels) if output == "categorical" else DiscretizedLogistic(num_levels)
