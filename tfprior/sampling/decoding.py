"""How grids are drawn from a masked prior: value by value, or many at once in a few iterations.

    iteration      0          1          2          3
                 ▒ ▒ ▒ ▒    ▒ 3 ▒ ▒    1 3 ▒ 2    1 3 0 2
                 ▒ ▒ ▒ ▒    ▒ ▒ ▒ 0    ▒ 1 ▒ 0    2 1 1 0

Each iteration draws all that is hidden, given what is visible, and hides a part of that again. What is drawn
in the same iteration does not know of each other: that, and the choice of what was drawn with confidence,
which lowers the temperature, make it another distribution than the prior's, in fewer passes.

Shapes: B batch · H W C grid · G values of a position that are hidden apart · T tokens, H · W · G of them ·
I iterations · K uniforms that a position's draw takes.
"""

import abc
import functools
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.streaming import select
from tfprior.priors.base import Predict
from tfprior.priors.masked import MaskedPrior
from tfprior.sampling.ordered_loops import one_by_one
from tfprior.sampling.request import Request
from tfprior.sampling.sampler import Drawn, Sampler
from tfprior.unmasking import (
    HALTON_ITERATIONS,
    MASKGIT_ITERATIONS,
    TINY,
    choice_temperatures,
    hidden_by_halton,
    hidden_by_maskgit,
)

NEVER = np.float32(1e9)
"""The confidence in what is visible, more than in anything drawn."""


class Sequential(Sampler):
    """Draws the values one by one along an order, each given all that are visible by then: exact."""

    whole_network = True

    def draw(self, prior: MaskedPrior, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        features = prior.encode_condition(request.condition)
        ranks = ops.cast(ops.argsort(request.order, axis=-1), "int32")  # (B, P)

        def begin(state: Any, values: Tensor, previous: Tensor, position: Tensor) -> Predict:
            to_come = (ranks >= select(ranks, position)[:, None])[..., None]  # (B, P, 1)
            is_here = ops.equal(np.arange(prior.num_steps, dtype="int32"), position[:, None])[..., None]

            def predict(current: Tensor | None) -> tuple[Tensor, Any]:
                seen, hidden = values, to_come
                if current is not None:  # channels of the position that are drawn already
                    seen = ops.where(is_here, current[:, None], values)
                    hidden = to_come & ~(is_here & (current >= 0)[:, None])
                shape = (-1, *prior.grid_shape[:2], hidden.shape[-1])
                params = prior.params(
                    ops.reshape(seen, (-1, *prior.grid_shape)), ops.reshape(hidden, shape), features
                )
                by_position = ops.reshape(params, (-1, prior.num_steps, params.shape[-1]))
                return select(by_position, position), state

            return predict

        return one_by_one(prior, request, (), begin)


class Iterations(Sampler):
    """Draws all that is hidden, hides what it is least confident of again, and so on.

    Args:
        iterations: how often, I; the class's own number when left out.

    Raises:
        ValueError: for no positive number of iterations.
    """

    whole_network = True
    usual: ClassVar[int]
    order: ClassVar[str | None] = None

    def __init__(self, iterations: int | None = None) -> None:
        self.iterations = self.usual if iterations is None else iterations
        check_sizes(type(self).__name__, iterations=self.iterations)

    @abc.abstractmethod
    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        """How many of as many values are hidden after each iteration: (N,) → (I, N) int32."""

    @abc.abstractmethod
    def noise(self, prior: MaskedPrior, uniforms: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """What an iteration draws values from (B, H, W, K), and its confidence (B, H, W, …)."""

    @abc.abstractmethod
    def confidence(
        self, prior: MaskedPrior, request: Request, index: Tensor, nats: Tensor, noise: Tensor
    ) -> Tensor:
        """Of each value drawn, by its nats (B, H, W, G): (B, T)."""

    def order_for(self, order: Any) -> str | None:
        if order is not None:
            raise ValueError(
                f"{type(self).__name__} decoding chooses itself what is drawn first and got order={order!r}; "
                "leave it out, or draw by 'sequential'."
            )
        return self.order

    def draw(self, prior: MaskedPrior, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        features = prior.encode_condition(request.condition)
        values, hidden = at_first(prior, request)
        count = ops.sum(ops.cast(hidden, "int32"), axis=(1, 2, 3))
        counts = self.hidden_after(np.arange(prior.num_tokens + 1))
        stay = ops.take(ops.convert_to_tensor(counts), count, axis=1)  # (I, B)

        def iterate(index: Tensor, carry: Any) -> Any:
            values, hidden, nats = carry
            uniforms, noise = self.noise(prior, request.uniforms, index)
            values, each = prior.refine(values, hidden, uniforms, features, request.options)
            confidence = self.confidence(prior, request, index, each, noise)
            again = prior.grid(least(confidence, hidden, ops.take(stay, index, axis=0)))
            again = again & (index < self.iterations - 1)  # the result is what was drawn last
            nats = nats + ops.sum(ops.where(hidden & ~again, each, 0.0), axis=(1, 2, 3))
            return values, again, nats

        start = values, hidden, ops.zeros_like(ops.cast(count, "float32"))
        values, _, nats = ops.fori_loop(0, self.iterations, iterate, start)
        return Drawn(values, nats)


class MaskGIT(Iterations):
    """Keeps the values that are most probable, but for Gumbel noise that fades (Chang et al. 2022).

    Of N values ⌊N cos(π i / 2 I)⌋ are hidden after iteration i (arXiv:2202.04200). An iteration takes noise
    of its own: numbers to draw values from, and one for the confidence in each value that is hidden apart.
    """

    usual = MASKGIT_ITERATIONS

    def num_uniforms(self, prior: MaskedPrior) -> int:
        return self.iterations * (super().num_uniforms(prior) + prior.channel_groups)

    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        return hidden_by_maskgit(count, self.iterations)

    def noise(self, prior: MaskedPrior, uniforms: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        apart = ops.reshape(
            uniforms, (-1, *prior.grid_shape[:2], self.iterations, uniforms.shape[-1] // self.iterations)
        )
        own = ops.take(apart, index, axis=3)
        return own[..., : -prior.channel_groups], own[..., -prior.channel_groups :]

    def confidence(
        self, prior: MaskedPrior, request: Request, index: Tensor, nats: Tensor, noise: Tensor
    ) -> Tensor:
        temperature = ops.take(ops.convert_to_tensor(choice_temperatures(self.iterations)), index)
        gumbel = -ops.log(-ops.log(ops.clip(noise, TINY, 1 - TINY)))
        return ops.reshape(nats + temperature * gumbel, (-1, prior.num_tokens))


class Halton(Iterations):
    """Keeps the values that come first in Halton order (Besnier et al. 2025, arXiv:2503.17076).

    So what is drawn together lies far apart. Of N values at least i, and ⌊N (1 − 2 arccos(i / I) / π)⌋, are
    drawn after iteration i.
    """

    usual = HALTON_ITERATIONS
    order = "halton"

    def hidden_after(self, count: np.ndarray) -> np.ndarray:
        return hidden_by_halton(count, self.iterations)

    def noise(self, prior: MaskedPrior, uniforms: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        return uniforms, uniforms[..., :0]

    def confidence(
        self, prior: MaskedPrior, request: Request, index: Tensor, nats: Tensor, noise: Tensor
    ) -> Tensor:
        return -ops.cast(prior.token_ranks(request.order), "float32")


sequential = Sequential()
maskgit, halton = functools.cache(MaskGIT), functools.cache(Halton)
"""The samplers by their number of iterations; what is compiled for one serves again."""


def at_first(prior: MaskedPrior, request: Request) -> tuple[Tensor, Tensor]:
    """The values (B, H, W, C) that are known, and what is hidden (B, H, W, G): all where none are known."""
    shape = ops.shape(request.uniforms)[0], *prior.grid_shape[:2]
    if request.observed is None:
        return ops.zeros((*shape, prior.grid_shape[2]), "int32"), ops.ones(
            (*shape, prior.channel_groups), "bool"
        )
    hidden = ops.convert_to_tensor(request.hidden)[..., None] & ops.ones((prior.channel_groups,), "bool")
    return ops.convert_to_tensor(request.observed), hidden


def least(confidence: Tensor, hidden: Tensor, count: Tensor) -> Tensor:
    """Which `count` (B,) of what is hidden (B, H, W, G) have the least confidence (B, T): (B, T) bool."""
    confidence = ops.where(ops.reshape(hidden, confidence.shape), confidence, NEVER)
    place = ops.minimum(count, confidence.shape[1] - 1)[:, None]
    return confidence < ops.take_along_axis(ops.sort(confidence, axis=-1), place, axis=-1)
