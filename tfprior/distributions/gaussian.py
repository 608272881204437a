"""A Gaussian of fixed width: the squared error as a likelihood."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.categorical import TINY
from tfprior.distributions.discretized_logistic import LEAST_UNIFORM
from tfprior.distributions.options import PLAIN, SamplingOptions


@keras.saving.register_keras_serializable("tfprior")
class Gaussian(OutputDistribution):
    """Independent Gaussians of one width for every channel; training by it minimises the squared error.

    The L levels lie evenly on [−1, 1]; parameters are the means there (C). A level has the probability
    density at it times the width of its bin, so the probabilities of all levels sum to 1 only where the tails
    stay inside: elsewhere to less, and nats are an upper bound. Likelihoods that compare: see
    `DiscretizedLogistic`.

    Args:
        num_levels: L.
        scale: standard deviation on [−1, 1]; not below the width of a bin, 2 / (L − 1).

    Raises:
        ValueError: for fewer than two levels, or a scale below the width of a bin; by sampling, for top_k and
            top_p.
    """

    orders_channels = True

    def __init__(self, num_levels: int = 256, scale: float = 0.1) -> None:
        if not isinstance(num_levels, int | np.integer) or num_levels < 2:
            raise ValueError(f"Gaussian got num_levels={num_levels!r}; expected an integer, 2 or more.")
        if not 2 / (num_levels - 1) <= scale < math.inf:
            raise ValueError(
                f"Gaussian got scale={scale}; expected a bin's width, {2 / (num_levels - 1):.4g}, or more."
            )
        self.num_levels = int(num_levels)
        self.scale = float(scale)

    def num_params(self, channels: int) -> int:
        return channels

    def num_uniforms(self, channels: int) -> int:
        return channels

    def log_prob(self, params: Tensor, values: Tensor) -> Tensor:
        distance = (self._level_centres(values) - ops.cast(params, "float32")) / self.scale
        peak = math.log(2 / (self.num_levels - 1) / self.scale / math.sqrt(2 * math.pi))
        return ops.sum(peak - ops.square(distance) / 2, axis=-1)

    def probabilities(self, params: Tensor, values: Tensor, channel: int) -> Tensor:
        """As the contract says, divided by their sum: where tails reach beyond the ends, above `log_prob`."""
        every = self._level_centres(np.arange(self.num_levels))
        distance = (every - ops.cast(params, "float32")[..., channel : channel + 1]) / self.scale
        return ops.softmax(-ops.square(distance) / 2, axis=-1)

    def sample(
        self,
        params: Tensor,
        uniforms: Tensor,
        options: SamplingOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        options = options or PLAIN
        if options.truncates:
            raise ValueError(
                f"Gaussian got top_k={options.top_k}, top_p={options.top_p}; it is not truncated: "
                "use temperature instead."
            )
        temperature = ops.expand_dims(ops.maximum(ops.cast(options.temperature, "float32"), TINY), -1)
        u = ops.clip(uniforms, LEAST_UNIFORM, 1 - LEAST_UNIFORM)
        noise = math.sqrt(2) * self.scale * ops.erfinv(2 * u - 1)
        values = self._nearest_level(ops.cast(params, "float32") + temperature * noise)
        return values, self.log_prob(params, values)

    def mean(self, params: Tensor) -> Tensor:
        return self._level(ops.cast(params, "float32"))

    def mode(self, params: Tensor) -> Tensor:
        return self._nearest_level(ops.cast(params, "float32"))

    def _level_centres(self, values: Tensor) -> Tensor:
        """[0, L − 1] → [−1, 1]."""
        return ops.cast(values, "float32") * np.float32(2 / (self.num_levels - 1)) - 1

    def _level(self, x: Tensor) -> Tensor:
        """[−1, 1] → [0, L − 1], what lies beyond at the ends."""
        top = self.num_levels - 1
        return ops.clip((x + 1) * np.float32(top / 2), 0, top)

    def _nearest_level(self, x: Tensor) -> Tensor:
        levels = ops.cast(ops.floor(self._level(x) + 0.5), "int32")
        return ops.clip(levels, 0, self.num_levels - 1)  # NaN is cast to any integer

    def get_config(self) -> dict[str, Any]:
        return {"num_levels": self.num_levels, "scale": self.scale}
