"""The contract of an output distribution."""

import abc
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfprior.distributions.options import SamplingOptions

Tensor = Any
BELOW_ONE = np.float32(1 - 2**-23)
"""The largest factor that makes every float32 smaller."""


class OutputDistribution(abc.ABC):
    """A distribution over the C integer channels of a pixel, given the network's parameters for it.

    Likelihoods are computed in float32 whatever the parameters' type. Sampling is a pure function of
    uniforms in [0, 1) (inverse CDF), so every runtime draws the same integers.

    Attributes:
        num_levels: values lie in [0, num_levels).
        orders_channels: whether the distribution itself models how channels depend on each other. Where it
            does not, the network does: it orders the channels by masks, parameters of channel c depend on
            the channels before it, and they lie channel by channel along the last axis.
        has_guidance: whether `sample` knows the option `guidance`.
    """

    num_levels: int
    has_guidance: ClassVar[bool] = False
    orders_channels: ClassVar[bool]

    @abc.abstractmethod
    def num_params(self, channels: int) -> int:
        """How many parameters P one pixel has."""

    def num_channels(self, num_params: int) -> int:
        """How many channels C have that many parameters: the inverse of `num_params`.

        Raises:
            ValueError: where no number of channels has.
        """
        for channels in range(1, num_params + 1):
            if self.num_params(channels) == num_params:
                return channels
        raise ValueError(
            f"{type(self).__name__} got {num_params} parameters a pixel; expected {self.num_params(1)} for "
            f"one channel, {self.num_params(3)} for three."
        )

    @abc.abstractmethod
    def num_uniforms(self, channels: int) -> int:
        """How many uniforms K the drawing of one pixel takes."""

    @abc.abstractmethod
    def log_prob(self, params: Tensor, values: Tensor) -> Tensor:
        """Nats per pixel: params (…, P), values (…, C) → (…); NaN where a value is no level."""

    def are_levels(self, values: Tensor) -> Tensor:
        """Which pixels (…, C) hold levels alone: (…) bool."""
        values = ops.cast(values, "int32")  # 256 levels are more than uint8 compares with
        return ops.all(ops.logical_and(values >= 0, values < self.num_levels), axis=-1)

    @abc.abstractmethod
    def probabilities(self, params: Tensor, values: Tensor, channel: int) -> Tensor:
        """Of every level of a channel, given those before it: params (…, P), values (…, C) → (…, L) float32.

        They sum to 1, and by the chain rule their logs add up to `log_prob` over the channels. Of `values`
        only the channels before `channel` are read.
        """

    @abc.abstractmethod
    def sample(
        self,
        params: Tensor,
        uniforms: Tensor,
        options: SamplingOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draws a pixel: params (…, P), uniforms (…, K) → values (…, C), log_prob (…).

        Options are numbers, or tensors that broadcast with (…). They change what is drawn, never `log_prob`,
        the model's own, in nats.
        """

    @abc.abstractmethod
    def mean(self, params: Tensor) -> Tensor:
        """Expected value of each channel: (…, P) → (…, C) float32."""

    @abc.abstractmethod
    def mode(self, params: Tensor) -> Tensor:
        """Most probable value of each channel: (…, P) → (…, C) int32."""

    def to_tfp(self, params: Tensor) -> Any:
        """As a distribution of TensorFlow Probability: (…, P) → batch shape (…), event shape (C,), nats.

        Raises:
            ImportError: where TensorFlow Probability is missing, or Keras runs on another backend.
            ValueError: where no number of channels has P parameters.
        """
        from tfprior.distributions import tfp

        return tfp.Pixel(self, params)

    @abc.abstractmethod
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""

    def __repr__(self) -> str:
        options = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({options})"

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "OutputDistribution":
        return cls(**config)
