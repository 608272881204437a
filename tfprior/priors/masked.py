"""The contract of a masked prior: what is hidden of a grid, given what is visible.

Shapes: N images · B batch · H W C grid · P positions · G values of a position that are hidden apart · T
tokens, P · G of them · c channels of a token · K uniforms of a position.
"""

import math
from typing import Any, ClassVar, NamedTuple, get_args

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.inputs import name_of
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.orders import known_first, order_of
from tfprior.priors.masked_likelihoods import MaskedLikelihoods
from tfprior.priors.masking import (
    OBJECTIVES,
    Masking,
    Objective,
    ObjectiveName,
    Terms,
    declared_uniforms,
)
from tfprior.replicas.share import places_in_batch

BY_TURNS = 64
"""Masks that `evaluate` takes by turns, one for each example of a batch."""


class Masked(NamedTuple):
    """What `call` makes of a batch.

    Attributes:
        params: of every position's distribution (B, H, W, …), given what is visible.
        asked: which values the loss is of (B, H, W, G).
    """

    params: Tensor
    asked: Tensor


class MaskedPrior(MaskedLikelihoods):
    """p(hidden values | visible values, condition), each hidden value by itself, whichever are hidden.

    Values are hidden apart from each other: all channels of a position together where the distribution takes
    them together (G = 1), else each channel (G = C).

    Values drawn one by one have an exact likelihood along the order, in as many passes; in a few passes
    `log_prob_bound` tells a lower bound of what the mixture of all orders has.

    `fit(images)`, or `fit({"values": images, "condition": labels})`, needs no loss. The objective
    "order_agnostic" minimises that bound in nats per dimension and reports `bits_per_dim_bound`. "bert" and
    "maskgit" minimise the nats of what they ask and report `asked_bits_per_dim`; bounds and likelihoods of
    such a prior hold, but are poor: it has learnt little of grids of which much, or little, is hidden.

    Arguments are those of `Prior`, and:

    Args:
        objective: "order_agnostic", "bert" or "maskgit"; see `tfprior.priors.masking`.

    Raises:
        ValueError: for an unknown objective.
    """

    sketching: ClassVar[dict[str, Any]] = {"method": "halton"}

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        objective: ObjectiveName = "order_agnostic",
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, distribution, num_classes, condition_shape, **kwargs)
        if objective not in OBJECTIVES:
            names = ", ".join(map(repr, get_args(ObjectiveName)))
            raise ValueError(f"Unknown objective {objective!r}; expected one of {names}.")
        self.objective = objective
        self.scores = (self.learns_by.score,)
        self.num_tokens = self.num_steps * self.channel_groups
        self.token_channels = self.grid_shape[-1] // self.channel_groups
        self.noise = keras.random.SeedGenerator()
        self._score = MeanOfSums(name=self.scores[0].name)

    @property
    def learns_by(self) -> Objective:
        """What is hidden in training, and what the loss is of."""
        return OBJECTIVES[self.objective]

    # One pass

    def call(self, inputs: Any, training: bool = False, hidden: Tensor | None = None) -> Masked:
        """Values, or a dict of "values" and "condition" → parameters given what is not hidden (B, H, W, G).

        Without `hidden` it asks by its objective: anything in training, else masks of a fixed list by turns.
        """
        values, condition = self.unpack(inputs)
        features = self.encode_condition(condition)
        if hidden is not None:
            self.check_hidden(hidden)
            return Masked(self.params(values, hidden, features), hidden)
        seen, unseen, asked = self.masking(values, training)
        return Masked(self.params(self.grid(seen), self.grid(unseen), features), self.grid(asked))

    @staticmethod
    def params_of(outputs: Masked) -> Tensor:
        return outputs.params

    def masking(self, values: Tensor, training: bool) -> Masking:
        """What the objective shows and asks of grids (B, H, W, C)."""
        num_uniforms = self.learns_by.num_uniforms(self.num_tokens, self.token_channels)
        count = ops.shape(values)[0]
        if training:
            uniforms = keras.random.uniform((count, num_uniforms), seed=self.noise)
            # How much is hidden lies evenly over the batch: gradients vary less (arXiv:2107.00630).
            evenly = ops.arange(count, dtype="float32")[:, None] / ops.cast(count, "float32")
            uniforms = ops.concatenate([(uniforms[:1, :1] + evenly) % 1, uniforms[:, 1:]], axis=-1)
        else:
            by_turns = places_in_batch(count) % BY_TURNS
            uniforms = ops.take(declared_uniforms(BY_TURNS, num_uniforms), by_turns, axis=0)
        return self.learns_by.hide(self.tokens_of(ops.cast(values, "int32")), uniforms, self.num_levels)

    def refine(
        self,
        values: Tensor,
        hidden: Tensor,
        uniforms: Tensor,
        features: Tensor | None = None,
        options: SamplingOptions = PLAIN,
    ) -> tuple[Tensor, Tensor]:
        """Draws all that is hidden (B, H, W, G) of values (B, H, W, C), each value given those visible.

        Uniforms (B, H, W, K) → values (B, H, W, C) int32, and the nats of what was drawn (B, H, W, G).
        """
        params = self.by_token(self.params(values, hidden, features))
        drawn, nats = self.distribution.sample(params, self.by_token(uniforms), options.spread(1))
        return ops.where(hidden, self.grid(drawn), values), self.grid(nats)

    def check_hidden(self, hidden: Tensor) -> None:
        """Raises ValueError unless it is bool (B, H, W, G)."""
        expected = (*self.grid_shape[:2], self.channel_groups)
        if name_of(hidden.dtype) != "bool" or tuple(hidden.shape[1:]) != expected:
            raise ValueError(
                f"hidden is {name_of(hidden.dtype)} of shape {tuple(hidden.shape)}; expected bool of shape "
                f"(batch, {', '.join(map(str, expected))}), True where a value is hidden."
            )

    # Drawing

    def drawing_order(self, order: Any, count: int, hidden: np.ndarray | None) -> np.ndarray:
        found = order_of("raster" if order is None else order, self.grid_shape, count)
        order = np.broadcast_to(found, (count, self.num_steps))
        return order if hidden is None else known_first(order, hidden.reshape(count, -1))

    # Training

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Mean nats per dimension of what is asked, or of the bound, plus the layers' own losses.

        y is the batch as it came, where x has what is out of range replaced; it makes the loss −∞.
        """
        dims = self.learns_by.mean_dims(self.num_tokens, self.token_channels)
        loss = self.mean_of(self._terms(x, y_pred).nats / dims, sample_weight) + sum(self.losses)
        return self.guarded(loss, x if y is None else y)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        nats, dims = self._terms(x, y_pred)
        sums = [self.sums_of(part, sample_weight)[0] for part in (nats / math.log(2), dims)]
        return {**super().statistics(x, y, y_pred, sample_weight, training), "score": ops.stack(sums)}

    def track(self, statistics: dict[str, Any]) -> None:
        super().track(statistics)
        self._score.update_state(statistics["score"])

    @once_a_step
    def _terms(self, inputs: Any, outputs: Masked) -> Terms:
        values, _ = self.unpack(inputs)
        nats = -self.token_log_prob(outputs.params, values)
        asked = ops.reshape(outputs.asked, (-1, self.num_tokens))
        return self.learns_by.terms(nats, asked, self.token_channels)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "objective": self.objective}
