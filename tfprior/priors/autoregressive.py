"""The contract of an autoregressive prior: exact likelihoods, and one position at a time.

Shapes: B batch · H W C grid · P parameters of a pixel · K uniforms of a pixel.
"""

import abc
import math
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.inputs import as_array
from tfprior.layers.streaming import State, empty_state
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.priors.base import Prior
from tfprior.priors.rollout import ByStep, Rollout


class AutoregressivePrior(Prior):
    """p(values | condition) by the chain rule, in `num_steps` steps.

    It runs two ways with the same numbers: `call` over the whole grid (training, likelihood), and `step` one
    position at a time (sampling, serving), state in and state out.

    `fit(images)`, or `fit({"values": images, "condition": labels})`, needs no loss: it minimises the negative
    log-likelihood in nats per dimension and reports `bits_per_dim`.

    Arguments are those of `Prior`.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, distribution, num_classes, condition_shape, **kwargs)
        self._bits_per_dim = MeanOfSums(name="bits_per_dim")

    # One position at a time

    @abc.abstractmethod
    def state_spec(self) -> State:
        """What steps change, before the first one: kind → specification, or dict of them.

        Kinds are "row" and "pixel" (renewed once a row, once a pixel), "cache" (what was there stays) and
        "order". The features of a condition, which no step changes, come beside them as "condition".
        """

    def initial_state(self, batch_size: Any, condition: Tensor | None = None) -> State:
        """The state before the first step: that of `state_spec`, and a conditional prior's "condition".

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        features = self.encode_condition(condition)
        state = empty_state(self.state_spec(), batch_size)
        return state if features is None else {**state, "condition": features}

    @abc.abstractmethod
    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in `previous` (B, C), the value at `position` − 1; ignored where `position` (B,) is 0."""

    @abc.abstractmethod
    def params_at(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, after `advance`; see `step` for `current`."""

    def step(
        self, state: State, previous: Tensor, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """State, the value before (B, C), position (B,) in raster order → parameters (B, P), state.

        Examples may stand at different positions. Where the network orders the channels, the parameters of
        channel c hold given the channels before it in `current` (B, C).
        """
        return self.params_at(self.advance(state, previous, position), position, current)

    def sample_step(
        self,
        state: State,
        previous: Tensor,
        position: Tensor,
        uniforms: Tensor,
        options: SamplingOptions = PLAIN,
    ) -> tuple[Tensor, Tensor, State]:
        """One step that draws: uniforms (B, K) → (value (B, C) int32, log_prob (B,) nats, state)."""
        state = self.advance(state, previous, position)
        return self.draw(lambda current: self.params_at(state, position, current), uniforms, options)

    @property
    def rollout(self) -> Rollout:
        """How it is led along its grid with the least work, all examples at the same position."""
        return ByStep(self)

    def drawing_order(self, order: Any, count: int, hidden: np.ndarray | None) -> np.ndarray | None:
        """The order (B, P) in which `count` grids are drawn, of which some of (B, H, W) may be hidden alone.

        None of raster order, the only one that most priors know.

        Raises:
            ValueError: for what is no order, and one that the prior does not know.
        """
        if order is not None:
            raise ValueError(
                f"{type(self).__name__} draws in raster order alone and got order={order!r}; leave it out, "
                "or train an AnyOrderTransformer."
            )
        return None

    def params_along(self, values: Tensor, condition: Tensor | None, order: Tensor) -> Tensor:
        """Parameters (B, H, W, P) of grids (B, H, W, C), each position's given those before in the order."""
        return self(values if condition is None else {"values": values, "condition": condition})

    # Likelihood

    def pixel_log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Exact log-likelihood of each pixel given those before it, in nats: (B, H, W, C) → (B, H, W).

        Raises:
            ValueError: for values or a condition of the wrong shape, type or range.
        """
        images, condition = as_array(images), as_array(condition)
        self.check_inputs(images, condition)
        inputs = images if condition is None else {"values": images, "condition": condition}
        return self.distribution.log_prob(self(inputs, training=False), images)

    def log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Exact log-likelihood in nats: (B, H, W, C) → (B,).

        Raises:
            ValueError: for values or a condition of the wrong shape, type or range.
        """
        return ops.sum(self.pixel_log_prob_batch(images, condition), axis=(1, 2))

    # Training

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Mean negative log-likelihood in nats per dimension, plus the layers' own losses.

        y is the batch as it came, where x has what is out of range replaced; it makes the loss −∞.
        """
        loss = self.mean_of(self._nats_per_dim(x, y_pred), sample_weight) + sum(self.losses)
        return self.guarded(loss, x if y is None else y)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        bits = self._nats_per_dim(x, y_pred) / math.log(2)
        return {
            **super().statistics(x, y, y_pred, sample_weight, training),
            "bits_per_dim": self.sums_of(bits, sample_weight),
        }

    def track(self, statistics: dict[str, Any]) -> None:
        super().track(statistics)
        self._bits_per_dim.update_state(statistics["bits_per_dim"])

    @once_a_step
    def _nats_per_dim(self, inputs: Any, params: Tensor) -> Tensor:
        values, _ = self.unpack(inputs)
        return -ops.sum(self.distribution.log_prob(params, values), axis=(1, 2)) / self.num_dims
