"""Decoding a masked prior in a few passes of `refine`, as `tfprior.sampling.decoding` draws.

Shapes: B batch · H W C grid · G values of a position that are hidden apart · T tokens, H · W · G of them ·
I iterations · K uniforms that a position's draw takes.
"""

import abc
from typing import ClassVar

import numpy as np

from tfprior.export.arrays import Asked, Drawn, Passing
from tfprior.export.prior_description import PriorDescription
from tfprior.inputs import check_sizes
from tfprior.orders import halton
from tfprior.unmasking import (
    HALTON_ITERATIONS,
    MASKGIT_ITERATIONS,
    TINY,
    choice_temperatures,
    hidden_by_halton,
    hidden_by_maskgit,
)


class Decoding(abc.ABC):
    """Draws all that is hidden, hides what it is least confident of again, and so on.

    Args:
        prior: whose grids are drawn.
        iterations: how often, I; the class's own number when left out.

    Raises:
        ValueError: for no positive number of iterations.
    """

    usual: ClassVar[int]

    def __init__(self, prior: PriorDescription, iterations: int | None = None) -> None:
        self.prior, self.groups = prior, prior.hidden_apart or 1
        self.iterations = self.usual if iterations is None else iterations
        check_sizes(type(self).__name__, iterations=self.iterations)

    @property
    @abc.abstractmethod
    def num_uniforms(self) -> int:
        """How many numbers a position's noise has in all."""

    @abc.abstractmethod
    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        """How many of as many values are hidden after each iteration: (B,) → (I, B)."""

    @abc.abstractmethod
    def noise(self, uniforms: np.ndarray, index: int) -> np.ndarray:
        """What an iteration draws values from: (B, H, W, K)."""

    @abc.abstractmethod
    def confidence(self, nats: np.ndarray, uniforms: np.ndarray, index: int) -> np.ndarray:
        """In each value drawn, by its nats (B, H, W, G): (B, H, W, G)."""

    def draw(self, uniforms: np.ndarray, values: np.ndarray, hidden: np.ndarray) -> Passing:
        """Noise (B, H, W, …), values (B, H, W, C) and where they are hidden (B, H, W, G) → grids and nats."""
        stay = self.hidden_after(hidden.sum((1, 2, 3)))
        stay[-1] = 0  # the result is what was drawn last
        nats = np.zeros(len(values))
        for index in range(self.iterations):
            values, each = yield Asked(values, hidden, self.noise(uniforms, index))
            again = least(self.confidence(each, uniforms, index), hidden, stay[index])
            nats += np.where(hidden & ~again, each, 0).sum((1, 2, 3))
            hidden = again
        return Drawn(values, nats)


class MaskGIT(Decoding):
    """Keeps the values that are most probable, but for Gumbel noise that fades (arXiv:2202.04200)."""

    usual = MASKGIT_ITERATIONS

    @property
    def num_uniforms(self) -> int:
        return self.iterations * (self.prior.noise.per_step + self.groups)

    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        return hidden_by_maskgit(count, self.iterations)

    def of_iteration(self, uniforms: np.ndarray, index: int) -> np.ndarray:
        """What belongs to an iteration: (B, H, W, K + G)."""
        return np.split(uniforms, self.iterations, axis=-1)[index]

    def noise(self, uniforms: np.ndarray, index: int) -> np.ndarray:
        return np.ascontiguousarray(self.of_iteration(uniforms, index)[..., : -self.groups])

    def confidence(self, nats: np.ndarray, uniforms: np.ndarray, index: int) -> np.ndarray:
        noise = self.of_iteration(uniforms, index)[..., -self.groups :]
        gumbel = -np.log(-np.log(np.clip(noise, TINY, 1 - TINY)))
        return np.asarray(nats + choice_temperatures(self.iterations)[index] * gumbel)


class Halton(Decoding):
    """Keeps the values that come first in Halton order, so that those drawn together lie far apart."""

    usual = HALTON_ITERATIONS

    @property
    def num_uniforms(self) -> int:
        return self.prior.noise.per_step

    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        return hidden_by_halton(count, self.iterations)

    def noise(self, uniforms: np.ndarray, index: int) -> np.ndarray:
        return uniforms

    def confidence(self, nats: np.ndarray, uniforms: np.ndarray, index: int) -> np.ndarray:
        ranks = np.argsort(halton(*nats.shape[1:3]))[:, None] * self.groups + np.arange(self.groups)
        return np.broadcast_to(-ranks.reshape(nats.shape[1:]).astype("float32"), nats.shape)


DECODINGS: dict[str, type[Decoding]] = {"maskgit": MaskGIT, "halton": Halton}
"""By the names of methods."""


def least(confidence: np.ndarray, hidden: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Which `count` (B,) of what is hidden (B, H, W, G) have the least confidence (B, H, W, G)."""
    each = np.where(hidden, confidence, np.inf).reshape(len(hidden), -1)
    place = np.minimum(count, each.shape[1] - 1)[:, None]
    return (each < np.take_along_axis(np.sort(each, axis=-1), place, axis=-1)).reshape(hidden.shape)
