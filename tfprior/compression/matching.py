"""Whether a model, a condition and a file belong together."""

import math

import numpy as np

from tfprior.compression import digests
from tfprior.compression.coder import LEAST_PROBABILITY, MOST_LEVELS
from tfprior.compression.container import Header
from tfprior.compression.environment import Environment
from tfprior.image_model import ImageModel
from tfprior.inputs import check_condition
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.sharding import rounded


def check_codable(model: ImageModel) -> None:
    """Raises ValueError for priors that are not drawn position by position, and more levels than fit."""
    for prior in model.chain():
        if not isinstance(prior, AutoregressivePrior):
            raise ValueError(
                f"{type(prior).__name__} is a masked prior, of whose bits there is a bound alone; expected "
                "an autoregressive prior: AnyOrderTransformer, for example."
            )
    for part in model.parts():
        num_levels = part.num_levels
        if num_levels > MOST_LEVELS:
            raise ValueError(f"The model has {num_levels:,} levels; expected {MOST_LEVELS:,} at most.")


def check_model(model: ImageModel, header: Header) -> None:
    """Raises ValueError unless the model is the one that compressed the images."""
    for what, of_file, of_model in (
        ("architecture", header.architecture, digests.of_architecture(model)),
        ("weights", header.weights, digests.of_weights(model)),
    ):
        if of_file != of_model:
            raise ValueError(
                f"The images were compressed by a model of other {what}, {of_file.hex()}, than this "
                f"{type(model).__name__}'s, {of_model.hex()}; open the model that compressed them."
            )


def check_condition_of(model: ImageModel, condition: np.ndarray | None, header: Header) -> None:
    """Raises ValueError unless vectors or maps are those that the images were compressed with."""
    if model.num_classes is not None:
        if condition is not None:
            raise ValueError("The labels are in the file; leave the condition out.")
        return
    check_condition(condition, model.condition_kind, header.num_images)
    found = digests.of_condition(condition)
    if found != header.condition:
        raise ValueError(
            f"The condition has the digest {found.hex()}; the images were compressed with that of "
            f"{header.condition.hex()}: pass the same rows in the same order."
        )


def check_counts(model: ImageModel, header: Header, num_bytes: int) -> None:
    """Raises ValueError for more images than so few bytes can hold.

    Every level has a probability, so even a value that is all but sure takes a part of a bit.
    """
    least = -math.log2(1 - (model.num_levels - 1) * LEAST_PROBABILITY)
    most = (8 * num_bytes + 64) / (least * model.num_dims)
    if not 0 < header.batch_size <= rounded(header.num_images) or header.num_images > most:
        raise ValueError(
            f"The file is damaged: its header says {header.num_images:,} images in batches of "
            f"{header.batch_size:,}, and its {num_bytes:,} bytes hold {int(most):,} at most."
        )


def differs(header: Header) -> str:
    """What is said where the images do not come out right from a whole file and the right model."""
    here = Environment.here()
    where = (
        f"by {header.environment}, and this is {here}"
        if here != header.environment
        else f"by {here} too, so most likely on another processor or with other settings"
    )
    return (
        "The images do not come out as they went in: probabilities are rounded otherwise here than where "
        f"they were compressed, {where}; decompress them there."
    )
