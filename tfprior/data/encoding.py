"""A data set as the codes of a tokenizer."""

import dataclasses

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
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes already; expected images.")
    return dataclasses.replace(
        images,
        x_train=_codes(tokenizer, images.x_train, "encoding the training images", progress),
        x_test=_codes(tokenizer, images.x_test, "encoding the test images", progress),
        num_levels=tokenizer.codebook_size,
        are_codes=True,
        origin=origin,
    )


def _codes(tokenizer: Encoder, values: np.ndarray, description: str, progress: bool) -> np.ndarray:
    from rich.console import Console
    from rich.progress import track

    starts, console = range(0, len(values), AT_ONCE), Console()
    hidden = not progress or not console.is_terminal
    shown = track(starts, description, console=console, disable=hidden, transient=True)
    return np.concatenate([tokenizer.encode(values[start : start + AT_ONCE]) for start in shown])
