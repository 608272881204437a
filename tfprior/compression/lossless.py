"""Images to bytes, and the same images from the bytes and the same model.

Shapes: N images · H W C.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfprior.compression import digests
from tfprior.compression.coder import (
    LEAST_PROBABILITY,
    MOST_LEVELS,
    Coder,
    Decoder,
    Encoder,
    UndecodableError,
)
from tfprior.compression.container import MOST_IMAGES, MOST_IN_A_BATCH, Header, read, written
from tfprior.compression.environment import Environment
from tfprior.compression.steps import code_grids
from tfprior.compression.through_codes import code_images
from tfprior.generator import Generator
from tfprior.inputs import as_array, check_condition, check_values
from tfprior.priors.base import Prior
from tfprior.tokenizers.base import Tokenizer


class Decompressed(NamedTuple):
    """Images (N, H, W, C) int32, and labels (N,) int32 of a class-conditional model."""

    images: np.ndarray
    labels: np.ndarray | None


def compress(
    model: Prior | Generator,
    images: Any,
    condition: Any = None,
    batch_size: int = 128,
    progress: bool = False,
) -> bytes:
    """Images (N, H, W, C) in as many bits as −log2 of their likelihood, and 60 bytes more.

    Only the same weights give the images back, on the backend, its version and the kind of processor that
    compressed them: elsewhere probabilities differ in their last digits, which `decompress` notices.

    Args:
        model: a prior, or a generator, whose bits are those of its bound.
        images: integers as the model models them.
        condition: one row for each image, for a conditional model. Labels go into the file too, in log2 of
            `num_classes` bits each; vectors and maps do not.
        batch_size: images that go through the network at once, here and in `decompress`.
        progress: whether a bar is shown, where there is a terminal.

    Raises:
        ValueError: for images or a condition of the wrong shape, type or range, a batch size out of range,
            and more than 65 536 levels.
        ModuleNotFoundError: without the package constriction.
    """
    images, condition = _arrays(images), _arrays(condition)
    grid, prior = _image_model(model), _first_prior(model)
    check_values(images, grid.grid_shape, grid.distribution.num_levels, "images")
    check_condition(condition, prior.num_classes, prior.condition_shape, len(images))
    if not 1 <= len(images) <= MOST_IMAGES:
        raise ValueError(f"Got {len(images)} images; expected one at least, {MOST_IMAGES:,} at most.")
    if not 1 <= batch_size <= MOST_IN_A_BATCH:
        raise ValueError(f"batch_size={batch_size}; expected a number in [1, {MOST_IN_A_BATCH}].")
    _check_levels(model)
    labels, given = (condition, None) if prior.num_classes is not None else (None, condition)
    num_batches = -(-len(images) // batch_size)
    size = -(-len(images) // num_batches)
    encoder = Encoder()
    _code(model, encoder, images, labels, given, len(images), size, "compressing" if progress else None)
    header = Header(
        len(images),
        size,
        digests.of_architecture(model),
        digests.of_weights(model),
        digests.of_condition(given),
        digests.of_images(images, labels),
        Environment.here(),
    )
    return written(header, encoder.data())


def decompress(
    model: Prior | Generator, data: bytes, condition: Any = None, progress: bool = False
) -> Decompressed:
    """The images that `compress` made the bytes of, and their labels; never any others.

    Args:
        model: of the same weights.
        data: what `compress` gave.
        condition: vectors or maps, as in `compress`; labels come from the file.
        progress: whether a bar is shown, where there is a terminal.

    Raises:
        ValueError: for data that are damaged or no such file, another model or condition than the images were
            compressed with, and where probabilities are rounded differently than they were there.
        ModuleNotFoundError: without the package constriction.
    """
    header, words = read(data)
    _check_model(model, header)
    given = _checked_condition(model, _arrays(condition), header)
    _check_counts(model, header, len(words))
    decoder = Decoder(words)
    try:
        found = _code(
            model,
            decoder,
            None,
            None,
            given,
            header.num_images,
            header.batch_size,
            "decompressing" if progress else None,
        )
    except UndecodableError as error:
        raise ValueError(_differs(header)) from error
    if not decoder.is_exhausted() or digests.of_images(*found) != header.images:
        raise ValueError(_differs(header))
    return found


def _code(
    model: Prior | Generator,
    coder: Coder,
    images: np.ndarray | None,
    labels: np.ndarray | None,
    given: np.ndarray | None,
    count: int,
    size: int,
    shown_as: str | None,
) -> Decompressed:
    """Leads either side through all batches: labels first, then pixels."""
    num_classes = _first_prior(model).num_classes
    decoded: list[np.ndarray] = []
    decoded_labels: list[np.ndarray] = []
    with _bar(shown_as, -(-count // size) * _num_ticks(model)) as tick:
        for first in range(0, count, size):
            rows = slice(first, min(first + size, count))
            here = rows.stop - first
            known, its_labels, condition = (
                None if part is None else part[rows] for part in (images, labels, given)
            )
            if num_classes is not None:
                uniform = np.full((here, num_classes), 1 / num_classes)
                condition = coder(uniform, its_labels) if num_classes > 1 else np.zeros(here, "int32")
                decoded_labels.append(condition)
            if condition is not None:
                condition = condition[np.minimum(np.arange(size), here - 1)]
            arguments = (coder, known, here, size, condition, tick)
            batch = (
                code_images(model, *arguments)
                if isinstance(model, Generator)
                else code_grids(model, *arguments)
            )
            decoded.append(batch[:here])
    return Decompressed(
        np.concatenate(decoded), np.concatenate(decoded_labels) if num_classes is not None else None
    )


def _check_levels(model: Prior | Generator) -> None:
    priors = model.priors if isinstance(model, Generator) else [model]
    for part in (_image_model(model), *priors):
        num_levels = part.distribution.num_levels
        if num_levels > MOST_LEVELS:
            raise ValueError(f"The model has {num_levels:,} levels; expected {MOST_LEVELS:,} at most.")


def _check_model(model: Prior | Generator, header: Header) -> None:
    for what, of_file, of_model in (
        ("architecture", header.architecture, digests.of_architecture(model)),
        ("weights", header.weights, digests.of_weights(model)),
    ):
        if of_file != of_model:
            raise ValueError(
                f"The images were compressed by a model of other {what}, {of_file.hex()}, than this "
                f"{type(model).__name__}'s, {of_model.hex()}; open the model that compressed them."
            )


def _checked_condition(
    model: Prior | Generator, condition: np.ndarray | None, header: Header
) -> np.ndarray | None:
    prior = _first_prior(model)
    if prior.num_classes is not None:
        if condition is not None:
            raise ValueError("The labels are in the file; leave the condition out.")
        return None
    check_condition(condition, None, prior.condition_shape, header.num_images)
    found = digests.of_condition(condition)
    if found != header.condition:
        raise ValueError(
            f"The condition has the digest {found.hex()}; the images were compressed with that of "
            f"{header.condition.hex()}: pass the same rows in the same order."
        )
    return condition


def _check_counts(model: Prior | Generator, header: Header, num_bytes: int) -> None:
    """As many images as so few bytes can hold: even a sure value leaves all other levels something."""
    grid = _image_model(model)
    least = -math.log2(1 - (grid.distribution.num_levels - 1) * LEAST_PROBABILITY)
    most = (8 * num_bytes + 64) / (least * grid.num_dims)
    if not 0 < header.batch_size <= header.num_images <= most:
        raise ValueError(
            f"The file is damaged: its header says {header.num_images:,} images in batches of "
            f"{header.batch_size:,}, and its {num_bytes:,} bytes hold {int(most):,} at most."
        )


def _differs(header: Header) -> str:
    here = Environment.here()
    where = (
        f"by {header.environment}, and this is {here}; decompress them there"
        if here != header.environment
        else f"by {here} too, but on another processor; decompress them on the kind that compressed them"
    )
    return (
        "The images do not come out as they went in: probabilities are rounded differently here than where "
        f"they were compressed, {where}."
    )


def _first_prior(model: Prior | Generator) -> Prior:
    """The one whose condition is the model's."""
    return model.priors[0] if isinstance(model, Generator) else model


def _image_model(model: Prior | Generator) -> Prior | Tokenizer:
    """What knows the shape and the levels of the images."""
    return model.tokenizer if isinstance(model, Generator) else model


def _num_ticks(model: Prior | Generator) -> int:
    if isinstance(model, Generator):
        return sum(prior.num_steps for prior in model.priors) + model.tokenizer.image_shape[0]
    return model.num_steps


def _arrays(values: Any) -> Any:
    return None if values is None else ops.convert_to_numpy(as_array(values))


@contextlib.contextmanager
def _bar(description: str | None, total: int) -> Iterator[Callable[[], None]]:
    """A bar on the terminal, and what moves it on; without a description there is none."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console()
    hidden = description is None or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(description or "", total=total)
        yield lambda: progress.advance(task)
