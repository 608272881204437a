"""A data set as the codes of a tokenizer."""

import dataclasses
from typing import Any

import numpy as np

from .codes import Encoder, check_one_grid
from .images import CodesOrigin, Images

AT_ONCE = 1024


def encode_images(
    tokenizer: Encoder, images: Images, origin: CodesOrigin | None = None, progress: bool = True
) -> Images:
    """The codes of both parts of the data, with the labels of the images.

    Args:
        tokenizer: with one grid of codes.
        images: the data set.
        origin: which the codes remember.
        progress: whether a bar is shown, where there is a terminal.

    Raises:
        ValueError: for images that the tokenizer was not built for, and for codes.
    """
    check_one_grid(tokenizer)
    (codes,) = encode_grids(tokenizer, images, origin, progress)
    return codes


def encode_grids(
    tokenizer: Any, images: Images, origin: CodesOrigin | None = None, progress: bool = True
) -> list[Images]:
    """The codes of each of the tokenizer's grids, coarse to fine, as a data set of its own.

    The coarsest have the labels of the images; finer ones have the codes of the next coarser grid in place.
    Arguments as in `encode_images`; several grids need an origin, which says for each of which it is.

    Raises:
        ValueError: for images that the tokenizer was not built for, and for codes.
    """
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes already; expected images.")
    train = _codes(tokenizer, images.x_train, "encoding the training images", progress)
    test = _codes(tokenizer, images.x_test, "encoding the test images", progress)
    if len(train) > 1 and origin is None:
        raise ValueError(
            f"{images.name} gives {len(train)} grids of codes; expected an origin, to tell them apart."
        )
    grids = []
    for index, (x_train, x_test) in enumerate(zip(train, test, strict=True)):
        coarser: dict[str, Any] = (
            {"y_train": train[index - 1], "y_test": test[index - 1], "class_names": None} if index else {}
        )
        codes = dataclasses.replace(
            images,
            x_train=x_train,
            x_test=x_test,
            num_levels=tokenizer.codebook_sizes[index],
            are_codes=True,
            origin=origin and dataclasses.replace(origin, grid=index, num_grids=len(train)),
            **coarser,
        )
        grids.append(codes)
    return grids


def _codes(tokenizer: Any, values: np.ndarray, description: str, progress: bool) -> list[np.ndarray]:
    """Codes of each grid, coarse to fine."""
    from rich.console import Console
    from rich.progress import track

    starts, console = range(0, len(values), AT_ONCE), Console()
    hidden = not progress or not console.is_terminal
    shown = track(starts, description, console=console, disable=hidden, transient=True)
    parts = [tokenizer.grids_of(tokenizer.encode(values[start : start + AT_ONCE])) for start in shown]
    return [np.concatenate(grid) for grid in zip(*parts, strict=True)]
