"""Likelihoods of priors that draw in any order: each is along one, or of a declared mixture of them.

Shapes: N images · B batch · H W C grid · P positions.
"""

import abc
import math
from typing import Any

import numpy as np

from tfprior.compilation import in_batches
from tfprior.distributions.base import Tensor
from tfprior.float32_copies import in_float32
from tfprior.inputs import as_array, check_completion, num_to_complete
from tfprior.orders import declared_orders, known_first
from tfprior.priors.autoregressive import AutoregressivePrior


class OrderLikelihoods(AutoregressivePrior):
    """What an autoregressive prior of any order tells of images: another number along another order."""

    @abc.abstractmethod
    def order_of(self, order: Any, count: int | None = None) -> np.ndarray:
        """An order by name, or positions (P,), or of `count` examples (B, P), as int32.

        Raises:
            ValueError: for what is no order, and one that the prior was not trained in.
        """

    def pixel_log_prob(
        self, images: Any, condition: Any = None, batch_size: int = 64, order: Any = "raster"
    ) -> np.ndarray:
        """What each pixel has of `log_prob` along the order, in nats: (N, H, W, C) → (N, H, W).

        Raises:
            ValueError: for images, a condition or an order of the wrong shape, type or range.
        """
        images, condition = self._checked(images, condition)
        along = np.broadcast_to(self.order_of(order, len(images)), (len(images), self.num_steps))
        return in_batches(_pixel_log_prob, in_float32(self), [images, along, condition], batch_size)

    def log_prob(
        self,
        images: Any,
        condition: Any = None,
        batch_size: int = 64,
        order: Any = None,
        orders: int | None = None,
    ) -> np.ndarray:
        """Exact log-likelihood in nats along an order, or of a mixture over orders: (N, H, W, C) → (N,).

        Args:
            images: grids (N, H, W, C).
            condition: one row for each of them, for a conditional prior.
            batch_size: of the network.
            order: "raster", which it is when left out, "halton", or positions y · W + x: (P,), or (N, P) for
                each image its own.
            orders: the number K of `tfprior.orders.declared_orders`, of which one is chosen by a fair
                die: log(Σ p_k / K).

        Raises:
            ValueError: for arguments of the wrong shape, type or range, an order and a number of them, and
                orders that the prior was not trained in.
        """
        if orders is None:
            along = "raster" if order is None else order
            return self.pixel_log_prob(images, condition, batch_size, along).sum((1, 2))
        if order is not None:
            raise ValueError(f"Got order={order!r} and orders={orders}; expected one of them.")
        declared = declared_orders(orders, self.grid_shape)
        nats = [self.pixel_log_prob(images, condition, batch_size, each).sum((1, 2)) for each in declared]
        return np.logaddexp.reduce(np.stack(nats).astype("float64"), axis=0) - math.log(orders)

    def bits_per_dim(
        self,
        images: Any,
        condition: Any = None,
        batch_size: int = 64,
        order: Any = None,
        orders: int | None = None,
    ) -> np.ndarray:
        """−log2 p / (H · W · C), of the `log_prob` of the same arguments: (N, H, W, C) → (N,).

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        nats = self.log_prob(images, condition, batch_size, order, orders)
        return nats / (-math.log(2) * self.num_dims)

    def marginal_log_prob(
        self, images: Any, mask: Any, condition: Any = None, batch_size: int = 64, order: Any = "raster"
    ) -> np.ndarray:
        """Log-likelihood in nats of what is visible alone, False in mask (H, W) or (N, H, W): (N,).

        It comes first, along the order; what is hidden has no say.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        images = as_array(images)
        count = num_to_complete(images, mask)
        _, hidden = check_completion(images, mask, count, self.grid_shape, self.num_levels)
        assert hidden is not None
        along = known_first(self.order_of(order, count), hidden.reshape(count, -1))
        nats = self.pixel_log_prob(images, condition, batch_size, self.order_of(along, count))
        return np.where(hidden, 0, nats).sum((1, 2))


def _pixel_log_prob(
    prior: OrderLikelihoods, images: Tensor, order: Tensor, condition: Tensor | None = None
) -> Tensor:
    return prior.distribution.log_prob(prior.params_along(images, condition, order), images)
