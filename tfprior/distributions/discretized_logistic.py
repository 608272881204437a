"""The discretized logistic mixture of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

Shapes: C channels · M components · L levels · P parameters of a pixel · K uniforms of a pixel.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import BELOW_ONE, OutputDistribution, Tensor
from tfprior.distributions.categorical import TINY
from tfprior.distributions.options import PLAIN, SamplingOptions

LEAST_LOG_SCALE = np.float32(-7)
LEAST_RATE = np.float32(1e-30)
"""Added to 1 / scale: lost in rounding but for scales so wide that no bin would have a probability."""
FAR = np.float32(1e33)
"""The outer edges of the first and the last bin: infinite at any rate, while 0 · FAR is 0 in a gradient."""
EDGES_AT_ONCE = 32
"""Levels that an expectation sums over at once: those of whole images would fill the memory."""
LEAST_UNIFORM = np.float32(2**-24)
"""Uniforms keep this distance, the step of their grid, from 0 and 1: no draw is infinite."""


class Parts(NamedTuple):
    """The parameters of a pixel apart, each (…, M); means and scales on [−1, 1]."""

    logits: Tensor
    means: list[Tensor]
    rates: list[Tensor]  # 1 / scale
    coefficients: list[Tensor]

    @classmethod
    def of(cls, rows: list[Tensor], channels: int) -> "Parts":
        """From the rows of the layout, each (…, M)."""
        logits, *rows = rows
        log_scales = rows[channels : 2 * channels]
        return cls(
            logits,
            rows[:channels],
            [ops.exp(-ops.maximum(log_scale, LEAST_LOG_SCALE)) + LEAST_RATE for log_scale in log_scales],
            [ops.tanh(coefficient) for coefficient in rows[2 * channels :]],
        )

    def mean(self, channel: int, centres: list[Tensor]) -> Tensor:
        """The channel's means given the values before it on [−1, 1], each (…, 1) or (…, M): (…, M)."""
        mean = self.means[channel]
        first = channel * (channel - 1) // 2
        for before in range(channel):
            mean = mean + self.coefficients[first + before] * centres[before]
        return mean


class Bins(NamedTuple):
    """Where the bins of some values lie on [−1, 1]; each of the values' shape."""

    centre: Tensor
    lower: Tensor
    upper: Tensor
    width: Tensor


@keras.saving.register_keras_serializable("tfprior")
class DiscretizedLogisticMixture(OutputDistribution):
    """A mixture of logistics, each discretized to the levels, its channels coupled linearly.

    The L levels lie evenly on [−1, 1]. A level has the probability of the bin around it; the first and the
    last one take their whole tails. One component is drawn for the whole pixel, and the mean of a channel
    moves with the values of the channels before it: μ_G + tanh(c₀) · R, μ_B + tanh(c₁) · R + tanh(c₂) · G
    (PixelCNN++, Salimans et al. 2017, arXiv:1701.05517).

    Parameters along the last axis: mixture logits (M), means (C · M, channel by channel), log-scales
    (C · M, −7 at the least), coupling coefficients (C(C − 1)/2 · M, in the order G←R, B←R, B←G). Uniforms:
    one for the component, then one for each channel.

    Args:
        num_components: M.
        num_levels: L.

    Raises:
        ValueError: for no components, or fewer than two levels; by every method, for parameters whose number
            is not that of the channels.
    """

    orders_channels = True

    def __init__(self, num_components: int = 10, num_levels: int = 256) -> None:
        name = type(self).__name__
        if not isinstance(num_components, int | np.integer) or num_components < 1:
            raise ValueError(f"{name} got num_components={num_components!r}; expected a positive integer.")
        if not isinstance(num_levels, int | np.integer) or num_levels < 2:
            raise ValueError(f"{name} got num_levels={num_levels!r}; expected an integer, 2 or more.")
        self.num_components = int(num_components)
        self.num_levels = int(num_levels)

    def num_params(self, channels: int) -> int:
        return self.num_components * (1 + 2 * channels + channels * (channels - 1) // 2)

    def num_uniforms(self, channels: int) -> int:
        return 1 + channels

    def log_prob(self, params: Tensor, values: Tensor) -> Tensor:
        channels = values.shape[-1]
        parts = self._parts(params, channels)
        axis = len(values.shape) - 1
        bins = Bins(*(ops.split(edges, channels, axis=axis) for edges in self._bins(values)))
        nats = ops.log_softmax(parts.logits, axis=-1)
        for channel, its_bins in enumerate(zip(*bins, strict=True)):
            nats = nats + _log_bin(Bins(*its_bins), parts.mean(channel, bins.centre), parts.rates[channel])
        return ops.where(self.are_levels(values), ops.logsumexp(nats, axis=-1), np.float32(np.nan))

    def probabilities(self, params: Tensor, values: Tensor, channel: int) -> Tensor:
        """As the contract says, the components weighted by their posterior given the channels before.

        Memory for (…, M, L).
        """
        parts = self._parts(params, values.shape[-1])
        nats = ops.log_softmax(parts.logits, axis=-1)
        centres: list[Tensor] = []
        for before in range(channel):
            known = self._bins(values[..., before : before + 1])
            nats = nats + _log_bin(known, parts.mean(before, centres), parts.rates[before])
            centres.append(known.centre)
        mean, rate = parts.mean(channel, centres), parts.rates[channel]
        every = self._bins(np.arange(self.num_levels))
        of_every = _bin_probability(every, ops.expand_dims(mean, -1), ops.expand_dims(rate, -1))  # (…, M, L)
        posterior = ops.expand_dims(ops.exp(ops.log_softmax(nats, axis=-1)), -1)
        return ops.sum(posterior * of_every, axis=-2)

    def sample(
        self,
        params: Tensor,
        uniforms: Tensor,
        options: SamplingOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws a pixel as the contract says; the temperature divides the logits and multiplies the scales.

        Raises:
            ValueError: for top_k or top_p, which have no meaning for a mixture of coupled channels.
        """
        options = options or PLAIN
        if options.truncates:
            raise ValueError(
                f"{type(self).__name__} got top_k={options.top_k}, top_p={options.top_p}; a mixture "
                "whose channels depend on each other is not truncated: use temperature instead."
            )
        channels = uniforms.shape[-1] - 1
        temperature = ops.expand_dims(ops.maximum(ops.cast(options.temperature, "float32"), TINY), -1)
        drawn = self._draw_component(params, uniforms[..., :1], channels, temperature)
        u = ops.clip(uniforms, LEAST_UNIFORM, 1 - LEAST_UNIFORM)
        noise = temperature * (ops.log(u) - ops.log(1 - u))
        values: list[Tensor] = []
        centres: list[Tensor] = []
        for channel in range(channels):
            mean, rate = drawn.mean(channel, centres), drawn.rates[channel]  # (…, 1)
            values.append(self._nearest_level(mean + noise[..., channel + 1 : channel + 2] / rate))
            centres.append(self._bins(values[-1]).centre)
        pixel = ops.concatenate(values, axis=len(values[0].shape) - 1)
        return pixel, self.log_prob(params, pixel)

    def mean(self, params: Tensor) -> Tensor:
        """Expected value of each channel: (…, P) → (…, C) float32.

        Exact for the first channel. In the others every component is conditioned on its expectations of the
        channels before, as if coupling were linear across rounding to levels and the ends of the range.
        """
        parts = self._parts(params, self.num_channels(params.shape[-1]))
        weights = ops.exp(ops.log_softmax(parts.logits, axis=-1))
        inner_edges = self._bins(np.arange(1, self.num_levels)).lower
        expected: list[Tensor] = []
        centres: list[Tensor] = []
        for channel, rate in enumerate(parts.rates):
            mean, rate = ops.expand_dims(parts.mean(channel, centres), -1), ops.expand_dims(rate, -1)
            # The expectation of an integer is the sum of its chances to reach 1, 2, …
            levels = sum(
                ops.sum(ops.sigmoid(rate * (mean - inner_edges[first : first + EDGES_AT_ONCE])), axis=-1)
                for first in range(0, self.num_levels - 1, EDGES_AT_ONCE)
            )  # (…, M)
            expected.append(ops.sum(weights * levels, axis=-1))
            centres.append(self._bins(levels).centre)
        return ops.stack(expected, axis=-1)

    def mode(self, params: Tensor) -> Tensor:
        """Most probable value of each channel given those before: (…, P) → (…, C); memory for (…, M, L)."""
        parts = self._parts(params, self.num_channels(params.shape[-1]))
        every = self._bins(np.arange(self.num_levels))
        nats = ops.log_softmax(parts.logits, axis=-1)
        modes: list[Tensor] = []
        centres: list[Tensor] = []
        for channel, rate in enumerate(parts.rates):
            mean = parts.mean(channel, centres)
            of_every = _log_bin(every, ops.expand_dims(mean, -1), ops.expand_dims(rate, -1))  # (…, M, L)
            log_pmf = ops.logsumexp(ops.expand_dims(nats, -1) + of_every, axis=-2)
            modes.append(ops.argmax(log_pmf, axis=-1))
            found = self._bins(ops.expand_dims(modes[-1], -1))
            nats = nats + _log_bin(found, mean, rate)
            centres.append(found.centre)
        return ops.cast(ops.stack(modes, axis=-1), "int32")

    def get_config(self) -> dict[str, Any]:
        return {"num_components": self.num_components, "num_levels": self.num_levels}

    def _parts(self, params: Tensor, channels: int) -> Parts:
        self._check(params, channels)
        axis = len(params.shape) - 1
        rows = ops.split(ops.cast(params, "float32"), params.shape[axis] // self.num_components, axis=axis)
        return Parts.of(rows, channels)

    def _draw_component(self, params: Tensor, uniforms: Tensor, channels: int, temperature: Tensor) -> Parts:
        """The parameters of one component, drawn by inverse CDF: uniforms (…, 1) → parts (…, 1)."""
        self._check(params, channels)
        size = self.num_components
        shape = (*(-1, *params.shape[1:])[: len(params.shape) - 1], params.shape[-1] // size, size)
        rows = ops.reshape(ops.cast(params, "float32"), shape)
        logits = rows[..., 0, :]
        weights = ops.exp((logits - ops.max(logits, axis=-1, keepdims=True)) / temperature)
        cdf = ops.cumsum(weights, axis=len(weights.shape) - 1)
        # Staying below the total keeps a rounded-up draw from components of weight zero at the end.
        total = cdf[..., -1:]
        threshold = ops.minimum(uniforms * total, total * BELOW_ONE)
        index = ops.sum(ops.cast(cdf <= threshold, "int32"), axis=-1, keepdims=True)
        drawn = ops.cast(ops.equal(index, np.arange(size, dtype="int32")), "float32")
        chosen = ops.sum(rows * ops.expand_dims(drawn, -2), axis=-1)
        return Parts.of(ops.split(chosen, shape[-2], axis=len(chosen.shape) - 1), channels)

    def _check(self, params: Tensor, channels: int) -> None:
        if params.shape[-1] != self.num_params(channels):
            raise ValueError(
                f"{type(self).__name__} got {params.shape[-1]} parameters a pixel for {channels} channels; "
                f"expected {self.num_params(channels)}: give the last layer num_params({channels}) outputs."
            )

    def _bins(self, values: Tensor) -> Bins:
        top = self.num_levels - 1
        half_bin = np.float32(1 / top)
        doubled = 2 * ops.cast(values, "float32") - top  # exact: symmetric, and edges meet
        is_first, is_last = doubled <= -top, doubled >= top
        return Bins(
            doubled * half_bin,
            ops.where(is_first, -FAR, (doubled - 1) * half_bin),
            ops.where(is_last, FAR, (doubled + 1) * half_bin),
            ops.where(is_first | is_last, FAR, 2 * half_bin),
        )

    def _nearest_level(self, x: Tensor) -> Tensor:
        """[−1, 1] and beyond → levels int32."""
        top = self.num_levels - 1
        levels = ops.clip(ops.floor((x + 1) * np.float32(top / 2) + 0.5), 0, top)
        return ops.clip(ops.cast(levels, "int32"), 0, top)  # NaN is cast to any integer


@keras.saving.register_keras_serializable("tfprior")
class DiscretizedLogistic(DiscretizedLogisticMixture):
    """One discretized logistic, its channels coupled linearly: the mixture of a single component.

    Layout and uniforms are the mixture's too; its one logit and the first uniform change nothing.

    Raises:
        ValueError: for fewer than two levels.
    """

    def __init__(self, num_levels: int = 256) -> None:
        super().__init__(1, num_levels)

    def get_config(self) -> dict[str, Any]:
        return {"num_levels": self.num_levels}


def _log_bin(bins: Bins, mean: Tensor, rate: Tensor) -> Tensor:
    """log of the probability of a bin under a logistic, in nats.

    With a > b, its edges from the mean in units of the scale, it is log(σ(a) − σ(b)) = log σ(a) + log σ(−b)
    + log(1 − exp(b − a)), exact in both tails. Of an edge at infinity nothing is left.
    """
    return (
        ops.log(-ops.expm1(-rate * bins.width))
        - ops.softplus(rate * (mean - bins.upper))
        - ops.softplus(rate * (bins.lower - mean))
    )


def _bin_probability(bins: Bins, mean: Tensor, rate: Tensor) -> Tensor:
    """exp(`_log_bin`) as the product of three probabilities, each exact to its last digits."""
    return (
        -ops.expm1(-rate * bins.width)
        * ops.sigmoid(rate * (bins.upper - mean))
        * ops.sigmoid(rate * (mean - bins.lower))
    )
