"""What is to be drawn: the noise and everything else that decides a sample.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

from typing import Any, NamedTuple, TypedDict

import numpy as np
from keras import ops

from tfprior.compilation import check_outside_graph
from tfprior.distributions.base import Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.inputs import (
    as_array,
    check_completion,
    check_condition,
    check_known_end,
    check_sampling_options,
    check_uniforms,
)
from tfprior.layers.streaming import select
from tfprior.priors.base import Prior


class RequestOptions(TypedDict, total=False):
    """What every way of sampling takes.

    Attributes:
        condition: one row for each sample, for a conditional prior.
        uniforms: the noise (B, H, W, K) in [0, 1); drawn from `seed` when left out.
        seed: of the noise, for samples that repeat.
        temperature: below 1 sharpens, above 1 flattens every distribution; a number, or one for each sample.
        top_k: draws from the `top_k` most probable values of a channel only; likewise.
        top_p: draws from the fewest values that hold a probability `top_p` only; likewise.
        observed: known grids (B, H, W, C) to complete.
        guidance: w of classifier-free guidance, of a prior with condition_dropout: draws from (1 + w) ·
            conditional − w · unconditional logits; a number, or one for each sample. Likelihoods are those of
            w = 0.
        mask: True where a pixel of `observed` is hidden and is to be drawn: (H, W) or (B, H, W). It is drawn
            given what comes before it in raster order, known or drawn; known pixels that come after it do
            not bear on it, so that only what is hidden below what is known follows the model exactly. An
            any-order prior places what is known first: there every mask is exact.
        order: of an any-order prior: "raster", "halton", or positions y · W + x, (P,) or (B, P).
    """

    condition: Any
    uniforms: Any
    seed: int | None
    temperature: Any
    top_k: Any
    top_p: Any
    guidance: Any
    observed: Any
    mask: Any
    order: Any


class Request(NamedTuple):
    """A request for whole grids; `at` makes it one for a row of each, and then for a pixel of the row."""

    uniforms: Tensor  # (B, H, W, K) float32
    condition: Tensor | None = None
    options: SamplingOptions = PLAIN
    observed: Tensor | None = None  # (B, H, W, C) int32
    hidden: Tensor | None = None  # (B, H, W) bool
    order: Tensor | None = None  # (B, P) int32, of priors that draw in any

    @classmethod
    def of(
        cls,
        prior: Prior,
        num_samples: int,
        condition: Any = None,
        uniforms: Any = None,
        seed: int | None = None,
        temperature: Any = 1.0,
        top_k: Any = None,
        top_p: Any = None,
        observed: Any = None,
        mask: Any = None,
        order: Any = None,
        num_uniforms: int | None = None,
        guidance: Any = None,
    ) -> "Request":
        """Checks what a user asks for, and has it all in arrays.

        `num_uniforms` is K, where it is not what the prior's distribution takes.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        check_outside_graph("sample")
        grid, distribution = prior.grid_shape, prior.distribution
        per_pixel = distribution.num_uniforms(grid[-1]) if num_uniforms is None else num_uniforms
        uniforms = check_uniforms(uniforms, num_samples, grid, per_pixel, seed)
        condition = as_array(condition)
        check_condition(condition, prior.condition_kind, num_samples)
        options = check_sampling_options(
            temperature, top_k, top_p, distribution.num_levels, num_samples, guidance
        )
        if guidance is not None:
            check_guidance(prior, guidance)
        known, hidden = check_completion(observed, mask, num_samples, grid, distribution.num_levels)
        if known is not None and hidden is not None and prior.end_value is not None:
            check_known_end(known, hidden, prior.end_value)
        return cls(
            uniforms,
            None if condition is None else ops.convert_to_numpy(condition),
            SamplingOptions(*options),
            known,
            hidden,
            prior.drawing_order(order, num_samples, hidden),
        )

    def first_row(self) -> Any:
        """The first row of which something is hidden in some grid, a number: those above it are known."""
        if self.hidden is None:
            return 0
        height = self.hidden.shape[1]
        asked = ops.any(ops.convert_to_tensor(self.hidden), axis=(0, 2))  # (H,)
        return ops.min(ops.where(asked, np.arange(height, dtype="int32"), np.int32(height)))

    def examples(self, index: np.ndarray) -> "Request":
        """The request for these examples."""
        options: list[Any] = [part[index] if np.ndim(part) else part for part in self.options]
        chosen = self._each(lambda part: part[index], "uniforms", "condition", "observed", "hidden", "order")
        return chosen._replace(options=SamplingOptions(*options))

    def in_halves(self, prior: Prior) -> "Request":
        """With guidance, the examples twice, the second time without their condition; else as it is."""
        if self.options.guidance is None or prior.condition_kind is None:
            return self

        def twice(part: np.ndarray) -> np.ndarray:
            return np.concatenate([part, part])

        options: list[Any] = [twice(part) if np.ndim(part) else part for part in self.options]
        both = self._each(twice, "uniforms", "observed", "hidden", "order")
        condition = np.concatenate([self.condition, prior.condition_kind.none(len(self.uniforms))])
        return both._replace(condition=condition, options=SamplingOptions(*options))

    def at(self, index: Tensor) -> "Request":
        """The request for row `index` of every grid, or pixel `index` of every row."""
        return self._each(lambda part: ops.take(part, index, axis=1), "uniforms", "observed", "hidden")

    def over_positions(self, count: int) -> "Request":
        """The request with P positions in the place of rows and columns."""

        def flat(part: Tensor) -> Tensor:
            return ops.reshape(part, (-1, count, *part.shape[3:]))

        return self._each(flat, "uniforms", "observed", "hidden")

    def at_positions(self, position: Tensor) -> "Request":
        """The request for a position (B,) of each example's own, of one over positions."""
        return self._each(
            lambda part: select(ops.convert_to_tensor(part), position), "uniforms", "observed", "hidden"
        )

    def first_rank(self) -> Any:
        """How many positions come first in the order and are known, in all grids."""
        if self.hidden is None:
            return 0
        count = self.hidden.shape[1] * self.hidden.shape[2]
        hidden = ops.reshape(ops.convert_to_tensor(self.hidden), (-1, count))
        if self.order is not None:
            hidden = select(hidden, ops.convert_to_tensor(self.order))
        return ops.min(ops.where(ops.any(hidden, axis=0), np.arange(count, dtype="int32"), np.int32(count)))

    def _each(self, change: Any, *names: str) -> "Request":
        parts = {name: getattr(self, name) for name in names}
        return self._replace(**{name: change(part) for name, part in parts.items() if part is not None})

    def complete(self, value: Tensor, log_prob: Tensor) -> tuple[Tensor, Tensor]:
        """What was drawn where it is hidden (…,), what was observed (…, C) elsewhere, and its nats (…,)."""
        if self.observed is None:
            return value, log_prob
        hidden = ops.convert_to_tensor(self.hidden)
        return ops.where(hidden[..., None], value, self.observed), ops.where(hidden, log_prob, 0.0)


def check_guidance(prior: Prior, guidance: Any) -> None:
    """Raises ValueError for a prior that has learnt nothing to be guided away from, or gives no logits."""
    name = type(prior).__name__
    if not prior.condition_dropout:
        kind = "was trained with every condition" if prior.is_conditional else "is unconditional"
        raise ValueError(
            f"Got guidance={guidance!r} and this {name} {kind}; leave it out, or train a conditional prior "
            "with condition_dropout=0.1."
        )
    if not prior.distribution.has_guidance:
        raise ValueError(
            f"Got guidance={guidance!r} and {prior.distribution!r}, which gives no logits; expected a "
            "Categorical: leave it out."
        )
