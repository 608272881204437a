"""What goes into functions and is drawn with them.

Shapes: B batch · H W C grid · P positions.
"""

from collections.abc import Callable, Generator
from typing import NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
Run = Callable[[str, Arrays], Arrays]
"""Runs a function by its name: named arrays in, of which it takes what it needs, named arrays out."""


class Drawn(NamedTuple):
    """Values (B, H, W, C) int32, and the nats of what was drawn (B,)."""

    values: np.ndarray
    log_prob: np.ndarray


class Known(NamedTuple):
    """Values (B, H, W, C) that are drawn only where hidden (B, H, W)."""

    values: np.ndarray
    hidden: np.ndarray


class Asked(NamedTuple):
    """A pass that a masked prior is asked for; with G values of a position that are hidden apart.

    Attributes:
        values: (B, H, W, C); what is hidden is not read.
        hidden: (B, H, W, G), True where a value is to be drawn.
        uniforms: (B, H, W, K).
    """

    values: np.ndarray
    hidden: np.ndarray
    uniforms: np.ndarray


Passing = Generator[Asked, tuple[np.ndarray, np.ndarray], Drawn]
"""Asks for pass after pass, and is sent the values (B, H, W, C) and the nats (B, H, W, G) of each."""


def along(parts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Parts (B, P, …) of positions in an order (B, P)."""
    return parts[np.arange(len(order))[:, None], order]


def number_known(hidden: np.ndarray) -> int:
    """How many positions come before the first one that is hidden in some example of (B, P)."""
    return int(np.append(hidden.any(axis=0), True).argmax())
