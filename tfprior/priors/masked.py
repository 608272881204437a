"""The contract of a masked prior: what is hidden of a grid, given what is visible.

Shapes: N images · B batch · H W C grid · P positions · G values of a position that are hidden apart · T
tokens, P · G of them · c channels of a token · K uniforms of a position.
"""

import abc
import math
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import keras
import numpy as np
from keras import ops

from tfprior.compilation import in_batches
from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.float32_copies import in_float32
from tfprior.inputs import name_of
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.orders import known_first, order_of
from tfprior.priors.base import Prior
from tfprior.priors.masking import (
    OBJECTIVES,
    Masking,
    Objective,
    ObjectiveName,
    Terms,
    declared_masks,
    declared_uniforms,
    every_mask,
    weighted,
)
from tfprior.replicas.share import places_in_batch

DRAWS = 32
"""Masks that bounds are the mean over, where no other number is asked for."""
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


class MaskedPrior(Prior):
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

    @abc.abstractmethod
    def params(self, values: Tensor, hidden: Tensor, features: Tensor | None) -> Tensor:
        """Parameters of all positions of grids (B, H, W, C), given what is not hidden (B, H, W, G) of them.

        `features` are those of the condition, by `encode_condition`.
        """

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

    # Grids and tokens

    def by_token(self, of_positions: Tensor) -> Tensor:
        """What positions have (B, H, W, …), of their tokens: (B, T, …)."""
        return ops.reshape(of_positions, (-1, self.num_tokens, of_positions.shape[-1] // self.channel_groups))

    def tokens_of(self, values: Tensor) -> Tensor:
        """(B, H, W, C) → (B, T, c)."""
        return ops.reshape(values, (-1, self.num_tokens, self.token_channels))

    def grid(self, tokens: Tensor) -> Tensor:
        """What tokens have (B, T) or (B, T, c), of their positions: (B, H, W, G) or (B, H, W, C)."""
        each = self.channel_groups * math.prod(tokens.shape[2:])
        return ops.reshape(tokens, (-1, *self.grid_shape[:2], each))

    def token_ranks(self, order: Tensor) -> Tensor:
        """When each token comes (B, T) in an order of positions (B, P); a position's channels in theirs."""
        ranks = ops.cast(ops.argsort(order, axis=-1), "int32")[..., None] * self.channel_groups
        return ops.reshape(ranks + np.arange(self.channel_groups, dtype="int32"), (-1, self.num_tokens))

    def token_log_prob(self, params: Tensor, values: Tensor) -> Tensor:
        """log p of the tokens (B, T) of grids (B, H, W, C)."""
        return self.distribution.log_prob(self.by_token(params), self.tokens_of(values))

    # Drawing

    def drawing_order(self, order: Any, count: int, hidden: np.ndarray | None) -> np.ndarray:
        found = order_of("raster" if order is None else order, self.grid_shape, count)
        order = np.broadcast_to(found, (count, self.num_steps))
        return order if hidden is None else known_first(order, hidden.reshape(count, -1))

    def params_along(self, values: Tensor, condition: Tensor | None, order: Tensor) -> Tensor:
        """Parameters (B, H, W, …) of grids (B, H, W, C), of each value given those before it in the order.

        The order is one of positions (B, P). It takes as many passes as there are tokens.
        """
        features, ranks = self.encode_condition(condition), self.token_ranks(order)

        def add(rank: Tensor, found: Tensor) -> Tensor:
            params = self.by_token(self.params(values, self.grid(ranks >= rank), features))
            return ops.where(ops.equal(ranks, rank)[..., None], params, found)

        size = self.distribution.num_params(self.token_channels)
        start = ops.zeros((ops.shape(values)[0], self.num_tokens, size), self.compute_dtype)
        return self.grid(ops.fori_loop(0, self.num_tokens, add, start))

    # Bounds, and likelihoods along orders

    def log_prob_bound(
        self,
        images: Any,
        condition: Any = None,
        batch_size: int = 64,
        draws: int | Literal["all"] = DRAWS,
        seed: int = 0,
    ) -> np.ndarray:
        """A lower bound of log p(images), mixed over all orders, in nats: (N, H, W, C) → (N,).

        It is the mean over all orders of the `log_prob` along each. Estimated without bias from as many masks
        as there are `draws`, drawn from the seed and the same for every image; of small grids exactly, from
        "all" masks.

        Raises:
            ValueError: for arguments of the wrong shape, type or range, and "all" masks of too large grids.
        """
        return self._bound(images, condition, batch_size, draws, seed).sum((1, 2))

    def bits_per_dim_bound(
        self,
        images: Any,
        condition: Any = None,
        batch_size: int = 64,
        draws: int | Literal["all"] = DRAWS,
        seed: int = 0,
    ) -> np.ndarray:
        """An upper bound of bits per dimension: `log_prob_bound` / (−log 2 · H · W · C): (N,).

        Raises:
            ValueError: as in `log_prob_bound`.
        """
        nats = self.log_prob_bound(images, condition, batch_size, draws, seed)
        return nats / (-math.log(2) * self.num_dims)

    def pixel_log_prob(
        self, images: Any, condition: Any = None, batch_size: int = 64, order: Any = None
    ) -> np.ndarray:
        """What each pixel has of `log_prob` of the same arguments, in nats: (N, H, W, C) → (N, H, W).

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        if order is None:
            return self._bound(images, condition, batch_size)
        images, condition = self._checked(images, condition)
        along = np.broadcast_to(order_of(order, self.grid_shape, len(images)), (len(images), self.num_steps))
        return in_batches(_pixel_log_prob_along, in_float32(self), [images, along, condition], batch_size)

    def log_prob(
        self, images: Any, condition: Any = None, batch_size: int = 64, order: Any = None
    ) -> np.ndarray:
        """Exact log-likelihood along an order, of T passes, in nats: (N, H, W, C) → (N,).

        The order is "raster", "halton", or positions y · W + x, (P,) or (N, P); a position's channels come in
        theirs. Without an order it is `log_prob_bound`, which stands for the likelihood where models are
        compared.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        return self.pixel_log_prob(images, condition, batch_size, order).sum((1, 2))

    def bits_per_dim(
        self, images: Any, condition: Any = None, batch_size: int = 64, order: Any = None
    ) -> np.ndarray:
        """−log2 p / (H · W · C) along an order: (N, H, W, C) → (N,).

        Raises:
            ValueError: without an order, and for arguments of the wrong shape, type or range.
        """
        if order is None:
            raise ValueError(
                f"{type(self).__name__} has bits per dimension along an order alone, and got none; expected "
                'order="raster" for example, or `bits_per_dim_bound` of all orders.'
            )
        nats = self.log_prob(images, condition, batch_size, order)
        return nats / (-math.log(2) * self.num_dims)

    def pixel_log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """What each pixel has of `log_prob_bound`, in nats: (B, H, W, C) → (B, H, W)."""
        masks = ops.convert_to_tensor(declared_masks(DRAWS, self.num_tokens))

        def add(index: Tensor, nats: Tensor) -> Tensor:
            return nats + self.bound_batch(images, ops.take(masks, index, axis=0)[None], condition)

        start = ops.zeros((ops.shape(images)[0], *self.grid_shape[:2]), "float32")
        return ops.fori_loop(0, DRAWS, add, start) / DRAWS

    def log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """`log_prob_bound` of one batch: (B, H, W, C) → (B,)."""
        return ops.sum(self.pixel_log_prob_batch(images, condition), axis=(1, 2))

    def bound_batch(self, values: Tensor, hidden: Tensor, condition: Tensor | None = None) -> Tensor:
        """What each pixel has of one draw of the bound, of which tokens (B or 1, T) are hidden: (B, H, W)."""
        hidden = hidden | ops.zeros((ops.shape(values)[0], 1), "bool")
        params = self.params(values, self.grid(hidden), self.encode_condition(condition))
        return ops.sum(self.grid(weighted(self.token_log_prob(params, values), hidden)), axis=-1)

    def _bound(
        self,
        images: Any,
        condition: Any,
        batch_size: int,
        draws: int | Literal["all"] = DRAWS,
        seed: int = 0,
    ) -> np.ndarray:
        images, condition = self._checked(images, condition)
        if draws == "all":
            masks, chances = every_mask(self.num_tokens)
        else:
            masks = declared_masks(draws, self.num_tokens, seed)
            chances = np.full(len(masks), 1 / len(masks))
        nats = np.zeros((len(images), *self.grid_shape[:2]))
        for mask, chance in zip(masks, chances, strict=True):
            hidden = np.broadcast_to(mask, (len(images), self.num_tokens))
            nats += chance * in_batches(_bound, in_float32(self), [images, hidden, condition], batch_size)
        return nats.astype("float32")

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


def _bound(prior: MaskedPrior, images: Tensor, hidden: Tensor, condition: Tensor | None = None) -> Tensor:
    return prior.bound_batch(images, ops.cast(hidden, "bool"), condition)


def _pixel_log_prob_along(
    prior: MaskedPrior, images: Tensor, order: Tensor, condition: Tensor | None = None
) -> Tensor:
    params = prior.params_along(images, condition, order)
    return ops.sum(prior.grid(prior.token_log_prob(params, images)), axis=-1)
