"""A prior led along the pixels of a batch by values that come from outside.

Every step runs one compiled graph on arrays of one shape. So an encoder, which leads by images that it
knows, and a decoder, which leads by what it has read so far, see the same probabilities to the last bit;
those of the whole-image `call` would differ in it.

Shapes: B batch · H W C grid · L levels · P parameters of a pixel.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.compression.coder import Coder
from tfprior.distributions.base import Tensor
from tfprior.layers.streaming import State
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.any_order_transformer import AnyOrderTransformer
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.rollout import Row


def code_grids(
    prior: AutoregressivePrior,
    coder: Coder,
    values: np.ndarray | None,
    count: int,
    batch_size: int,
    condition: np.ndarray | None,
    tick: Callable[[], None],
    order: np.ndarray | None = None,
) -> np.ndarray:
    """Codes `count` grids in a batch of `batch_size`: (B, H, W, C) int32, zeros where it is filled up.

    Args:
        prior: any prior.
        coder: either side.
        values: the grids (count, H, W, C) on the encoding side.
        count: how many grids.
        batch_size: B.
        condition: of the whole batch, for a conditional prior.
        tick: called after each pixel.
        order: of the pixels (P,), of an any-order prior; None for raster order.
    """
    grids = np.full((batch_size, *prior.grid_shape), OUTSIDE, "int32")
    prior = prior.for_sampling()
    if order is None:
        predicted = predictions(prior, grids, condition)
    else:
        predicted = predictions_along(prior, grids, condition, order)
    for (y, x, channel), probabilities in predicted:
        known = None if values is None else values[:, y, x, channel]
        grids[:, y, x, channel] = 0
        grids[:count, y, x, channel] = coder(probabilities[:count], known)
        if channel == prior.grid_shape[-1] - 1:
            tick()
    return grids


Predictions = Iterator[tuple[tuple[int, int, int], np.ndarray]]
"""((y, x, channel), probabilities (B, L))."""


def predictions(prior: AutoregressivePrior, grids: np.ndarray, condition: np.ndarray | None) -> Predictions:
    """Leads along the pixels: ((y, x, channel), probabilities (B, L)) of every value in turn.

    `grids` (B, H, W, C) are read as far as they went; write the values there before the next one.
    """
    height, width, channels = prior.grid_shape
    begin_row, begin_pixel = compiled(_begin_row, prior), compiled(_begin_pixel, prior)
    next_channels = [compiled(_next_channel(channel), prior) for channel in range(1, channels)]
    carried = prior.rollout.begin(len(grids), condition)
    finished, previous = grids[:, 0].copy(), grids[:, 0, 0].copy()  # none yet
    for y in range(height):
        row = begin_row(carried, finished, condition, _number(y))
        pixel = row.pixel
        for x in range(width):
            place = _number(y), _number(x)
            probabilities, params, known, pixel = begin_pixel(row.fixed, pixel, _tensor(previous), *place)
            yield (y, x, 0), ops.convert_to_numpy(probabilities)
            for channel, predict in enumerate(next_channels, 1):
                probabilities = predict(row.fixed, known, params, _tensor(grids[:, y, x]), *place)
                yield (y, x, channel), ops.convert_to_numpy(probabilities)
            previous = grids[:, y, x]
        carried, finished = prior.rollout.end_row(row, pixel), grids[:, y].copy()


def predictions_along(
    prior: AnyOrderTransformer, grids: np.ndarray, condition: np.ndarray | None, order: np.ndarray
) -> Predictions:
    """As `predictions`, in an order (P,) of an any-order prior."""
    size, (_, width, channels) = len(grids), prior.grid_shape
    begin = compiled(_begin_position, prior)
    next_channels = [compiled(_next_channel_at(channel), prior) for channel in range(1, channels)]
    state = prior.initial_state(size, condition, np.tile(order, (size, 1)))
    previous = grids[:, 0, 0]  # none yet
    for position in order:
        (y, x), at = divmod(int(position), width), np.full(size, position, "int32")
        probabilities, params, state = begin(state, _tensor(previous), at)
        yield (y, x, 0), ops.convert_to_numpy(probabilities)
        for channel, predict in enumerate(next_channels, 1):
            probabilities = predict(state, params, _tensor(grids[:, y, x]), at)
            yield (y, x, channel), ops.convert_to_numpy(probabilities)
        previous = grids[:, y, x]


def _begin_position(
    prior: AutoregressivePrior, state: State, previous: Tensor, position: Tensor
) -> tuple[Tensor, Tensor, State]:
    """The pixel placed before (B, C), position (B,) → probabilities of channel 0 (B, L), and what follows."""
    state = prior.advance(state, previous, position)
    params, state = prior.params_at(state, position)
    return prior.distribution.probabilities(params, ops.full_like(previous, OUTSIDE), 0), params, state


def _begin_row(
    prior: AutoregressivePrior, carried: Any, finished: Tensor, condition: Tensor | None, y: Tensor
) -> Row:
    """Row y, below the finished one (B, W, C)."""
    return prior.rollout.begin_row(carried, finished, condition, y)


def _begin_pixel(
    prior: AutoregressivePrior, fixed: Any, pixel: Any, previous: Tensor, y: Tensor, x: Tensor
) -> tuple[Tensor, Tensor, Any, Any]:
    """The pixel before (B, C) → probabilities of channel 0 (B, L), parameters, before and after the draw."""
    known = prior.rollout.advance(fixed, pixel, previous, y, x)
    params, pixel = prior.rollout.predict(fixed, known, y, x)
    unknown = ops.full_like(previous, OUTSIDE)
    return prior.distribution.probabilities(params, unknown, 0), params, known, pixel


@functools.cache
def _next_channel(channel: int) -> Callable[..., Tensor]:
    """The step to another channel of a pixel."""

    def predict(
        prior: AutoregressivePrior,
        fixed: Any,
        known: Any,
        params: Tensor,
        current: Tensor,
        y: Tensor,
        x: Tensor,
    ) -> Tensor:
        """The pixel (B, C) as far as it is known → probabilities (B, L)."""
        if prior.channel_groups > 1:
            params, _ = prior.rollout.predict(fixed, known, y, x, current)
        return prior.distribution.probabilities(params, current, channel)

    return predict


@functools.cache
def _next_channel_at(channel: int) -> Callable[..., Tensor]:
    """The step to another channel of a position."""

    def predict(
        prior: AutoregressivePrior, state: State, params: Tensor, current: Tensor, position: Tensor
    ) -> Tensor:
        """The pixel (B, C) as far as it is known → probabilities (B, L)."""
        if prior.channel_groups > 1:
            params, _ = prior.params_at(state, position, current)
        return prior.distribution.probabilities(params, current, channel)

    return predict


def _number(number: int) -> Tensor:
    return ops.convert_to_tensor(number, "int32")


def _tensor(values: np.ndarray) -> Tensor:
    """As a tensor, with numbers of its own: a compiled function takes arrays too, but more slowly."""
    return ops.convert_to_tensor(values.copy())
