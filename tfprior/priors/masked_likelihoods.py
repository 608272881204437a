"""Likelihoods of priors of what is hidden: bounds for all orders, and exact ones along each.

Shapes: N images · B batch · H W C grid · P positions · G values of a position that are hidden apart · T
tokens, P · G of them · c channels of a token.
"""

import abc
import math
from typing import Any, Literal

import numpy as np
from keras import ops

from tfprior.compilation import in_batches
from tfprior.distributions.base import Tensor
from tfprior.float32_copies import in_float32
from tfprior.orders import order_of
from tfprior.priors.base import Prior
from tfprior.priors.masking import declared_masks, every_mask, weighted

DRAWS = 32
"""Masks that bounds are the mean over, where no other number is asked for."""


class MaskedLikelihoods(Prior):
    """What p(hidden values | visible values, condition) tells of whole grids.

    Attributes:
        num_tokens: T, values of a grid that are hidden apart.
        token_channels: c.
    """

    num_tokens: int
    token_channels: int

    @abc.abstractmethod
    def params(self, values: Tensor, hidden: Tensor, features: Tensor | None) -> Tensor:
        """Parameters of all positions of grids (B, H, W, C), given what is not hidden (B, H, W, G) of them.

        `features` are those of the condition, by `encode_condition`.
        """

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

    # Along orders

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


def _bound(
    prior: MaskedLikelihoods, images: Tensor, hidden: Tensor, condition: Tensor | None = None
) -> Tensor:
    return prior.bound_batch(images, ops.cast(hidden, "bool"), condition)


def _pixel_log_prob_along(
    prior: MaskedLikelihoods, images: Tensor, order: Tensor, condition: Tensor | None = None
) -> Tensor:
    params = prior.params_along(images, condition, order)
    return ops.sum(prior.grid(prior.token_log_prob(params, images)), axis=-1)
