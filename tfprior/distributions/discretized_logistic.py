"""The discretized logistic mixture of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

Shapes: C channels · M components · L levels · P parameters of a pixel · K uniforms of a pixel.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import BELOW_ONE, OutputDistribution, Tensor

LOG_SCALES = -7.0, 30.0
"""Below, a component is narrower than a bin; above, it is as flat as float32 can tell."""
LEAST = np.float32(1e-7)
"""Uniforms keep this distance from 0 and 1, so that no draw is infinite."""


class Components(NamedTuple):
    """Parameters of a pixel apart; means and scales on [−1, 1]."""

    logits: Tensor  # (…, M)
    means: Tensor  # (…, C, M)
    log_scales: Tensor  # (…, C, M)
    coefficients: Tensor  # (…, C(C − 1)/2, M)


@keras.saving.register_keras_serializable("tfprior")
class DiscretizedLogisticMixture(OutputDistribution):
    """A mixture of logistics, each discretized to the levels, its channels coupled linearly.

    The L levels lie evenly on [−1, 1]. A level has the probability of the bin around it; the first and the
    last one take their whole tails. One component is drawn for the whole pixel, and the mean of a channel
    moves with the values of the channels before it: μ_G + tanh(c₀) · R, μ_B + tanh(c₁) · R + tanh(c₂) · G.

    Parameters along the last axis: mixture logits (M), means (C · M, channel by channel), log-scales
    (C · M), coupling coefficients (C(C − 1)/2 · M, in the order G←R, B←R, B←G). Uniforms: one for the
    component, then one for each channel.

    Args:
        num_components: M.
        num_levels: L.

    Raises:
        ValueError: for no components, or fewer than two levels.
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
        logits, means, log_scales, coefficients = self._split(params, channels)
        values = ops.expand_dims(ops.cast(values, "int32"), -1)  # (…, C, 1)
        x = self._scaled(values)
        means = ops.stack(
            [
                _coupled(means, coefficients, channel, [x[..., before, :] for before in range(channel)])
                for channel in range(channels)
            ],
            axis=-2,
        )
        nats = ops.sum(self._log_bin(x - means, log_scales, values), axis=-2)  # (…, M)
        return ops.logsumexp(nats + logits, axis=-1) - ops.logsumexp(logits, axis=-1)

    def _log_bin(self, centred: Tensor, log_scales: Tensor, values: Tensor) -> Tensor:
        """log of the probability of the bin around `centred`, x − μ; in nats.

        With its edges a > b in units of the scale it is log(σ(a) − σ(b)) = log σ(a) + log σ(−b) +
        log(1 − exp(b − a)), exact in both tails. The bins at the ends have one edge only.
        """
        half_bin = np.float32(1 / (self.num_levels - 1))
        rate = ops.exp(-log_scales)
        upper = -ops.softplus(-rate * (centred + half_bin))
        lower = -ops.softplus(rate * (centred - half_bin))
        width = ops.log(-ops.expm1(-2 * half_bin * rate))
        is_first, is_last = values == 0, values == self.num_levels - 1
        return (
            ops.where(is_last, 0.0, upper)
            + ops.where(is_first, 0.0, lower)
            + ops.where(is_first | is_last, 0.0, width)
        )

    def sample(
        self,
        params: Tensor,
        uniforms: Tensor,
        temperature: Tensor | float = 1.0,
        top_k: Tensor | int | None = None,
        top_p: Tensor | float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws a pixel as the contract says; the temperature divides the logits and multiplies the scales.

        Raises:
            ValueError: for top_k or top_p, which have no meaning for a mixture of coupled channels.
        """
        if top_k is not None or top_p is not None:
            raise ValueError(
                f"{type(self).__name__} got top_k={top_k}, top_p={top_p}; a mixture whose channels depend on "
                "each other is not truncated: use temperature instead."
            )
        channels = uniforms.shape[-1] - 1
        logits, *others = self._split(params, channels)
        temperature = ops.expand_dims(ops.cast(temperature, "float32"), -1)
        chosen = choose(logits / temperature, uniforms[..., :1])  # (…, M)
        means, log_scales, coefficients = _of_component(chosen, others)
        u = ops.clip(uniforms, LEAST, 1 - LEAST)
        noise = ops.log(u) - ops.log(1 - u)
        values: list[Tensor] = []
        x: list[Tensor] = []
        for channel in range(channels):
            mean = _coupled(means, coefficients, channel, x)  # (…, 1)
            scale = temperature * ops.exp(log_scales[..., channel, :])
            drawn = mean + scale * noise[..., channel + 1 : channel + 2]
            values.append(self._nearest_level(drawn))
            x.append(self._scaled(values[-1]))
        value = ops.concatenate(values, axis=len(values[0].shape) - 1)
        return value, self.log_prob(params, value)

    def mean(self, params: Tensor) -> Tensor:
        """Expected value of each channel: (…, P) → (…, C) float32.

        A component's expectations move through the coupling as the values do, which is exact but for what
        the ends of the range cut off.
        """
        channels = self._channels_of(params)
        logits, means, log_scales, coefficients = self._split(params, channels)
        levels = np.arange(self.num_levels, dtype="float32")
        expected: list[Tensor] = []
        x: list[Tensor] = []
        for channel in range(channels):
            pmf = self._pmf(_coupled(means, coefficients, channel, x), log_scales[..., channel, :])
            by_component = ops.sum(pmf * levels, axis=-1)  # (…, M)
            x.append(self._scaled(by_component))
            expected.append(ops.sum(ops.softmax(logits, axis=-1) * by_component, axis=-1))
        return ops.stack(expected, axis=-1)

    def mode(self, params: Tensor) -> Tensor:
        """Most probable values of the most probable component, one channel after the other."""
        channels = self._channels_of(params)
        logits, *others = self._split(params, channels)
        first = ops.argmax(logits, axis=-1, keepdims=True)
        chosen = ops.cast(ops.equal(ops.arange(self.num_components), ops.cast(first, "int32")), "float32")
        means, log_scales, coefficients = _of_component(chosen, others)
        modes: list[Tensor] = []
        x: list[Tensor] = []
        for channel in range(channels):
            pmf = self._pmf(_coupled(means, coefficients, channel, x), log_scales[..., channel, :])
            modes.append(ops.cast(ops.argmax(pmf, axis=-1), "int32"))  # (…, 1)
            x.append(self._scaled(modes[-1]))
        return ops.concatenate(modes, axis=-1)

    def _pmf(self, means: Tensor, log_scales: Tensor) -> Tensor:
        """Probability of every level: (…, M), (…, M) → (…, M, L)."""
        levels = np.arange(self.num_levels, dtype="int32")
        centred = self._scaled(levels) - ops.expand_dims(means, -1)
        return ops.exp(self._log_bin(centred, ops.expand_dims(log_scales, -1), levels))

    def _split(self, params: Tensor, channels: int) -> Components:
        """Parameters (…, P) apart, in float32."""
        if params.shape[-1] != self.num_params(channels):
            raise ValueError(
                f"{type(self).__name__} got {params.shape[-1]} parameters a pixel for {channels} channels; "
                f"expected {self.num_params(channels)}."
            )
        size = self.num_components
        rows = ops.reshape(
            ops.cast(params, "float32"), (-1, *params.shape[1:-1], params.shape[-1] // size, size)
        )
        means, log_scales = rows[..., 1 : channels + 1, :], rows[..., channels + 1 : 2 * channels + 1, :]
        return Components(
            rows[..., 0, :],
            means,
            ops.clip(log_scales, *LOG_SCALES),
            ops.tanh(rows[..., 2 * channels + 1 :, :]),
        )

    def _channels_of(self, params: Tensor) -> int:
        """How many channels have as many parameters."""
        for channels in range(1, params.shape[-1] + 1):
            if self.num_params(channels) == params.shape[-1]:
                return channels
        raise ValueError(
            f"{type(self).__name__} got {params.shape[-1]} parameters a pixel; expected "
            f"{self.num_params(1)} for one channel, {self.num_params(3)} for three."
        )

    def _scaled(self, values: Tensor) -> Tensor:
        """Levels → [−1, 1]."""
        # The product of two floats rounds once everywhere; a division may be rewritten by a compiler.
        return ops.cast(values, "float32") * np.float32(2 / (self.num_levels - 1)) - 1

    def _nearest_level(self, x: Tensor) -> Tensor:
        """[−1, 1] and beyond → levels int32."""
        top = self.num_levels - 1
        return ops.cast(ops.clip(ops.floor((x + 1) * np.float32(top / 2) + 0.5), 0, top), "int32")

    def get_config(self) -> dict[str, Any]:
        return {"num_components": self.num_components, "num_levels": self.num_levels}


@keras.saving.register_keras_serializable("tfprior")
class DiscretizedLogistic(DiscretizedLogisticMixture):
    """One discretized logistic, its channels coupled linearly: the mixture of a single component.

    Raises:
        ValueError: for fewer than two levels.
    """

    def __init__(self, num_levels: int = 256) -> None:
        super().__init__(1, num_levels)

    def get_config(self) -> dict[str, Any]:
        return {"num_levels": self.num_levels}


def _coupled(means: Tensor, coefficients: Tensor, channel: int, before: list[Tensor]) -> Tensor:
    """The channel's means given the values before it on [−1, 1], each (…, 1) or (…, M): (…, M)."""
    mean = means[..., channel, :]
    first = channel * (channel - 1) // 2
    for index, x in enumerate(before):
        mean = mean + coefficients[..., first + index, :] * x
    return mean


def _of_component(chosen: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Of each part (…, N, M) the component that is one in `chosen` (…, M): (…, N, 1)."""
    weights = ops.expand_dims(chosen, -2)
    return [ops.sum(part * weights, axis=-1, keepdims=True) for part in parts]


def choose(logits: Tensor, uniforms: Tensor) -> Tensor:
    """One-hot of a component (…, M), drawn by inverse CDF from logits (…, M) and uniforms (…, 1)."""
    weights = ops.exp(logits - ops.max(logits, axis=-1, keepdims=True))
    cdf = ops.cumsum(weights, axis=-1)
    total = cdf[..., -1:]
    # Staying below the total keeps a rounded-up draw from components of weight zero at the end.
    threshold = ops.minimum(uniforms * total, total * BELOW_ONE)
    index = ops.sum(ops.cast(cdf <= threshold, "int32"), axis=-1, keepdims=True)
    return ops.cast(ops.equal(index, np.arange(logits.shape[-1], dtype="int32")), "float32")
