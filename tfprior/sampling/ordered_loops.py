"""The loops that draw the positions of a grid in an order of each example's own, what is known first.

Shapes: B batch · H W C grid · P positions · K uniforms a position.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.streaming import select
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.any_order_transformer import AnyOrderTransformer
from tfprior.priors.base import Predict, Prior
from tfprior.sampling.request import Request
from tfprior.sampling.sampler import Drawn, Sampler

Begin = Callable[[Any, Tensor, Tensor, Tensor], Predict]
"""State, values (B, P, C), the value before (B, C), position (B,) → what predicts that position."""


class AlongOrder(Sampler):
    """Draws by steps, from a cache of what was placed."""

    def draw(self, prior: AnyOrderTransformer, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        if request.observed is None:
            size = ops.shape(request.uniforms)[0]
            state = prior.initial_state(size, request.condition, request.order)
        else:
            state = prior.prefill(request.observed, request.condition, request.order)

        def begin(state: Any, values: Tensor, previous: Tensor, position: Tensor) -> Predict:
            state = prior.advance(state, previous, position)
            return lambda current: prior.params_at(state, position, current)

        return one_by_one(prior, request, state, begin)


class FullAlongOrder(Sampler):
    """The definition: the whole network for every channel of every position."""

    whole_network = True

    def draw(self, prior: AnyOrderTransformer, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        features = prior.encode_condition(request.condition)
        places = np.arange(prior.num_steps, dtype="int32")

        def begin(state: Any, values: Tensor, previous: Tensor, position: Tensor) -> Predict:
            def predict(current: Tensor | None) -> tuple[Tensor, Any]:
                grid = values
                if current is not None:
                    here = ops.equal(places, position[:, None])[..., None]
                    grid = ops.where(here, ops.maximum(current, 0)[:, None], values)
                shaped = ops.reshape(ops.maximum(grid, 0), (-1, *prior.grid_shape))
                params = prior.params(shaped, features, request.order)
                return select(ops.reshape(params, (-1, prior.num_steps, prior.num_params)), position), state

            return predict

        return one_by_one(prior, request, (), begin)


def one_by_one(prior: Prior, request: Request, state: Any, begin: Begin) -> Drawn:
    """Draws the positions after those that are known in all examples, one of each example at a time."""
    count, channels = prior.num_steps, prior.grid_shape[-1]
    order = ops.convert_to_tensor(request.order)
    size = ops.shape(order)[0]
    by_position = request.over_positions(count)
    values = by_position.observed
    if values is None:
        values = ops.full((size, count, channels), OUTSIDE, "int32")
    first = request.first_rank()
    before = select(values, ops.take(order, ops.maximum(first - 1, 0), axis=1))
    start = values, ops.zeros((size,), "float32"), before, state

    def draw(rank: Tensor, carry: Any) -> Any:
        values, nats, previous, state = carry
        position = ops.take(order, rank, axis=1)  # (B,)
        here = by_position.at_positions(position)
        predict = begin(state, values, previous, position)
        drawn, log_prob, state = prior.draw(predict, here.uniforms, here.options)
        value, log_prob = here.complete(drawn, log_prob)
        is_here = ops.equal(np.arange(count, dtype="int32"), position[:, None])[..., None]
        return ops.where(is_here, value[:, None], values), nats + log_prob, value, state

    values, nats, _, _ = ops.fori_loop(first, count, draw, start)
    return Drawn(ops.reshape(values, (-1, *prior.grid_shape)), nats)


along_order, full_along_order = AlongOrder(), FullAlongOrder()
