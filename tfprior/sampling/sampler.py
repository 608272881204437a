"""What every way of drawing grids is.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

import abc
from typing import Any, ClassVar, NamedTuple

from tfprior.distributions.base import Tensor
from tfprior.sampling.request import Request


class Drawn(NamedTuple):
    """What a sampler draws.

    Attributes:
        values: (B, H, W, C) int32.
        log_prob: nats of what was drawn (B,), of the model at temperature 1.
        runs: how often each row was drawn in all (B,) int32, where a loop draws it more than once.
    """

    values: Tensor
    log_prob: Tensor
    runs: Tensor | None = None


class Sampler(abc.ABC):
    """Draws whole grids in one graph.

    Attributes:
        rasters_only: whether it draws from a `RasterPrior` alone.
        whole_network: whether it runs the whole network each time, which keeps all cores busy.
    """

    rasters_only: ClassVar[bool] = False
    whole_network: ClassVar[bool] = False

    def num_uniforms(self, prior: Any) -> int:
        """K."""
        return int(prior.distribution.num_uniforms(prior.grid_shape[-1]))

    def order_for(self, order: Any) -> Any:
        """The order that it draws in, where this is the one asked for.

        Raises:
            ValueError: for an order, where it has its own.
        """
        return order

    @abc.abstractmethod
    def draw(self, prior: Any, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
