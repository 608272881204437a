"""Categorical output: one softmax a channel."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import BELOW_ONE, OutputDistribution, Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions

TINY = np.finfo("float32").tiny
IMPOSSIBLE = np.float32(-1e9)
"""The logit of a level of probability zero; finite, as some runtimes multiply by masks."""


@keras.saving.register_keras_serializable("tfprior")
class Categorical(OutputDistribution):
    """Independent softmax over `num_levels` values for every channel.

    Parameters are logits (…, C · num_levels), channel by channel. Channels depend on each other through the
    network's masks (R → G → B).

    Raises:
        ValueError: for fewer than two levels.
    """

    orders_channels = False
    has_guidance = True

    def __init__(self, num_levels: int) -> None:
        if not isinstance(num_levels, int | np.integer) or num_levels < 2:
            raise ValueError(f"Categorical got num_levels={num_levels!r}; expected an integer, 2 or more.")
        self.num_levels = int(num_levels)

    def num_params(self, channels: int) -> int:
        return channels * self.num_levels

    def num_uniforms(self, channels: int) -> int:
        return channels

    def _logits(self, params: Tensor) -> Tensor:
        channels = params.shape[-1] // self.num_levels
        shape = (-1, *params.shape[1:-1], channels, self.num_levels)
        return ops.reshape(ops.cast(params, "float32"), shape)  # (…, C, num_levels)

    def log_prob(self, params: Tensor, values: Tensor) -> Tensor:
        logits = self._logits(params)
        logits = logits - ops.stop_gradient(ops.max(logits, axis=-1, keepdims=True))
        values = ops.cast(values, "int32")
        nats = ops.sum(self._nats(logits, values), axis=-1)
        return ops.where(self.are_levels(values), nats, np.float32(np.nan))

    def probabilities(self, params: Tensor, values: Tensor, channel: int) -> Tensor:
        """As the contract says; `values` are not read, as it is the network that orders the channels."""
        size = self.num_levels
        logits = params[..., channel * size : (channel + 1) * size]
        return ops.softmax(ops.cast(logits, "float32"), axis=-1)

    def certain(self, level: int) -> np.ndarray:
        """The parameters (L,) of a value that is that level with probability one."""
        return np.where(np.arange(self.num_levels) == level, np.float32(0), IMPOSSIBLE)

    def uniform_cross_entropy(self, params: Tensor) -> Tensor:
        """Nats per pixel of values that are drawn uniformly, which label smoothing mixes in: (…, P) → (…)."""
        logits = self._logits(params)
        nats = ops.logsumexp(logits, axis=-1) - ops.mean(logits, axis=-1)
        return ops.sum(nats, axis=-1)

    def sample(
        self,
        params: Tensor,
        uniforms: Tensor,
        options: SamplingOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        options = options or PLAIN
        logits = self._logits(params)
        if options.guidance is not None:
            logits, steered = guided(logits, options.guidance)
        logits = logits - ops.max(logits, axis=-1, keepdims=True)
        drawing = logits
        if options.guidance is not None:
            drawing = steered - ops.max(steered, axis=-1, keepdims=True)
        temperature = per_level(ops.cast(options.temperature, "float32"))
        temperature = ops.maximum(temperature, TINY)  # a subnormal is flushed to zero, and 0 / 0 is no number
        weights = truncate(ops.exp(drawing / temperature), options)
        cdf = ops.cumsum(weights, axis=len(weights.shape) - 1)
        # Staying below the total keeps a rounded-up draw from classes of weight zero at the end.
        total = cdf[..., -1:]
        threshold = ops.minimum(ops.expand_dims(uniforms, -1) * total, total * BELOW_ONE)
        values = ops.sum(ops.cast(cdf <= threshold, "int32"), axis=-1)
        return values, ops.sum(self._nats(logits, values), axis=-1)

    def _nats(self, logits: Tensor, values: Tensor) -> Tensor:
        """Of values (…, C) by logits (…, C, L) of which the largest is 0."""
        levels = np.arange(self.num_levels, dtype="int32")
        chosen = ops.cast(ops.equal(ops.expand_dims(values, -1), levels), "float32")
        return ops.sum(logits * chosen, axis=-1) - ops.log(ops.sum(ops.exp(logits), axis=-1))

    def mean(self, params: Tensor) -> Tensor:
        probabilities = ops.softmax(self._logits(params), axis=-1)
        return ops.matmul(probabilities, np.arange(self.num_levels, dtype="float32"))

    def mode(self, params: Tensor) -> Tensor:
        return ops.cast(ops.argmax(self._logits(params), axis=-1), "int32")

    def to_tfp(self, params: Tensor) -> Any:
        from tfprior.distributions import tfp

        shape = (*ops.shape(params)[:-1], self.num_channels(params.shape[-1]), self.num_levels)
        return tfp.independent_categoricals(ops.reshape(ops.cast(params, "float32"), shape))

    def get_config(self) -> dict[str, Any]:
        return {"num_levels": self.num_levels}


def guided(logits: Tensor, guidance: Tensor) -> tuple[Tensor, Tensor]:
    """Logits with a condition, and then as many without → those with it, and those to draw from, of both.

    (1 + w) · conditional − w · unconditional (Ho & Salimans 2022, arXiv:2207.12598).
    """
    conditional, unconditional = (ops.concatenate([half, half]) for half in ops.split(logits, 2))
    away = conditional - unconditional
    return conditional, conditional + per_level(ops.cast(guidance, "float32")) * away


def per_level(option: Tensor) -> Tensor:
    """An option of a pixel (…), for all levels of all its channels: (…, 1, 1)."""
    return ops.expand_dims(ops.expand_dims(option, -1), -1)


def truncate(weights: Tensor, options: SamplingOptions) -> Tensor:
    """Zeroes weights (…, C, L): all but the `top_k` largest, then all but the fewest that hold `top_p`.

    The most probable class always stays, and classes tied with the last one kept stay with it.
    """
    if not options.truncates:
        return weights
    descending = -ops.sort(-weights, axis=-1)
    rank = np.arange(weights.shape[-1], dtype="int32")
    if options.top_k is not None:
        top_k = per_level(ops.cast(options.top_k, "int32"))
        descending = descending * ops.cast(rank < top_k, "float32")
    if options.top_p is not None:
        mass = ops.cumsum(descending, axis=len(descending.shape) - 1)
        before = mass - descending
        descending = descending * ops.cast(
            before < per_level(ops.cast(options.top_p, "float32")) * mass[..., -1:], "float32"
        )
    kept = ops.sum(ops.cast(descending > 0, "int32"), axis=-1, keepdims=True)
    least = ops.min(ops.where(rank < kept, descending, np.float32(np.inf)), axis=-1, keepdims=True)
    return weights * ops.cast(weights >= least, "float32")
