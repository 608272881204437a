"""The loops that draw grids row by row.

Shapes: B batch · H W C grid · K uniforms a pixel · P parameters of a pixel.
"""

import abc
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.base import Predict
from tfprior.priors.raster import RasterPrior
from tfprior.priors.rollout import ByRow, ByStep, Rollout, of_all
from tfprior.sampling.request import Request
from tfprior.sampling.sampler import Drawn, Sampler

BeginPixel = Callable[[Tensor, Tensor, Any], Predict]


class Loop(Sampler):
    """Draws whole grids row by row.

    A loop is what it carries from row to row, and how it draws one row: so a grid can also be drawn a row
    at a time, where someone watches.
    """

    def __call__(
        self,
        prior: AutoregressivePrior,
        uniforms: Tensor,
        condition: Tensor | None = None,
        options: SamplingOptions = PLAIN,
    ) -> Drawn:
        return self.draw(prior, Request(uniforms, condition, options))

    def draw(self, prior: AutoregressivePrior, request: Request) -> Drawn:
        """Uniforms (B, H, W, K) and the rest of a request → the grids that it asks for."""
        batch_size = ops.shape(request.uniforms)[0]

        def next_row(y: Tensor, carry: Any) -> Any:
            image, nats, before = carry
            row, log_prob, before = self.next_row(prior, before, y, request)
            return put(image, row, y), nats + log_prob, before

        first = request.first_row()
        image = ops.full((batch_size, *prior.grid_shape), OUTSIDE, "int32")
        if request.observed is not None:
            image = ops.where(rows(prior) < first, request.observed, image)
        start = image, ops.zeros((batch_size,), "float32"), self.begin(prior, request, first)
        values, nats, last = ops.fori_loop(first, prior.grid_shape[0], next_row, start)
        return Drawn(values, nats, self.runs_of(last))

    def next_row(
        self, prior: AutoregressivePrior, before: Any, y: Tensor, request: Request
    ) -> tuple[Tensor, Tensor, Any]:
        """Row y of what is asked for: (values (B, W, C), nats (B,), what is carried to the next row)."""
        return self.row(prior, before, y, request.at(y))

    @abc.abstractmethod
    def begin(self, prior: Any, request: Request, first: Tensor) -> Any:
        """What is carried to row `first`, a number: those above it are known."""

    @abc.abstractmethod
    def row(self, prior: Any, before: Any, y: Tensor, request: Request) -> tuple[Tensor, Tensor, Any]:
        """Row y as `request` asks for it: (values (B, W, C), nats (B,), what is carried to the next row)."""

    def runs_of(self, last: Any) -> Tensor | None:
        """How often each example was drawn, from what the last row carries on; None for once."""
        return None


class Led(Loop):
    """Leads the prior along its rollout.

    Args:
        rollout_of: the rollout of a prior; by default the prior's own, with the least work.
    """

    def __init__(
        self, rollout_of: Callable[[AutoregressivePrior], Rollout] = lambda prior: prior.rollout
    ) -> None:
        self.rollout_of = rollout_of

    def begin(self, prior: AutoregressivePrior, request: Request, first: Tensor) -> Any:
        return carried_to(first, self.rollout_of(prior), request), above(first, prior, request)

    def row(self, prior: AutoregressivePrior, before: Any, y: Tensor, request: Request) -> Any:
        rollout, (carried, finished) = self.rollout_of(prior), before
        begun = rollout.begin_row(carried, finished, request.condition, y)

        def begin_pixel(x: Tensor, previous: Tensor, pixel: Any) -> Predict:
            pixel = rollout.advance(begun.fixed, pixel, previous, y, x)
            return lambda current: rollout.predict(begun.fixed, pixel, y, x, current)

        start = finished[:, -1], begun.pixel
        row, nats, (_, pixel) = pixel_by_pixel(prior, request, start, begin_pixel)
        return row, nats, (rollout.end_row(begun, pixel), row)


class Full(Loop):
    """The definition: the whole network for every channel of every pixel."""

    whole_network = True

    def begin(self, prior: AutoregressivePrior, request: Request, first: Tensor) -> Any:
        # What the image holds at positions to come does not matter: the network cannot see them.
        image = request.observed
        if image is None:
            image = ops.zeros((ops.shape(request.uniforms)[0], *prior.grid_shape), "int32")
        return above(first, prior, request)[:, -1], ops.convert_to_tensor(image)

    def row(self, prior: AutoregressivePrior, before: Any, y: Tensor, request: Request) -> Any:
        height, width, channels = prior.grid_shape
        shape = (-1, height * width, prior.distribution.num_params(channels))

        def set_pixel(image: Tensor, value: Tensor, position: Tensor) -> Tensor:
            here = ops.reshape(one_hot(position, height * width), (height, width, 1))
            return ops.where(here, value[:, None, None], image)

        def begin_pixel(x: Tensor, previous: Tensor, image: Tensor) -> Predict:
            position = y * width + x
            image = set_pixel(image, previous, position - 1)

            def predict(current: Tensor | None) -> tuple[Tensor, Any]:
                # A channel to come is OUTSIDE, which is no value of an image.
                grid = image if current is None else set_pixel(image, ops.maximum(current, 0), position)
                params = prior(inputs(grid, request.condition))
                return ops.take(ops.reshape(params, shape), position, axis=1), image

            return predict

        return pixel_by_pixel(prior, request, before, begin_pixel)


class ParallelRows(Loop):
    """All pixels of a row at once, from what they were before, until the row no longer changes.

    Jacobi iteration within a row and Gauss–Seidel over rows. A row takes no more runs than it has values.
    """

    rasters_only = True

    def begin(self, prior: RasterPrior, request: Request, first: Tensor) -> Any:
        runs = ops.zeros((ops.shape(request.uniforms)[0],), "int32")
        return carried_to(first, ByRow(prior), request), above(first, prior, request), runs

    def row(self, prior: RasterPrior, before: Any, y: Tensor, request: Request) -> Any:
        states, finished, runs = before
        batch_size = ops.shape(request.uniforms)[0]
        ys = of_all(finished, y)
        states, features = prior.row(states, finished, prior.encode_condition(request.condition), ys)
        options = request.options.spread(1)

        def refine(row: Tensor, nats: Tensor, moving: Tensor, runs: Tensor) -> Any:
            params = prior.row_params(states, features, row, ys)
            drawn, nats = prior.distribution.sample(params, request.uniforms, options)
            drawn, nats = request.complete(drawn, nats)
            runs = runs + ops.cast(moving, "int32")
            return drawn, ops.sum(nats, axis=1), moving & ops.any(drawn != row, axis=(1, 2)), runs

        guess = ops.zeros_like(finished) if request.observed is None else request.observed
        start = guess, ops.zeros((batch_size,), "float32"), ops.full((batch_size,), True, "bool"), runs
        row, nats, _, runs = ops.while_loop(
            lambda row, nats, moving, runs: ops.any(moving),
            refine,
            start,
            maximum_iterations=prior.grid_shape[1] * prior.channel_groups,
        )
        return row, nats, (states, row, runs)

    def runs_of(self, last: Any) -> Tensor:
        return last[-1]


cached, stepwise, full, parallel_rows = Led(), Led(ByStep), Full(), ParallelRows()


def pixel_by_pixel(
    prior: AutoregressivePrior, request: Request, before: tuple[Tensor, Any], begin_pixel: BeginPixel
) -> tuple[Tensor, Tensor, tuple[Tensor, Any]]:
    """Draws a row from left to right → its values (B, W, C), nats (B,), and what comes after `before`.

    `before` is the last value (B, C) and a state; `begin_pixel(x, last value, state)` gives what predicts the
    pixel: its parameters and the next state.
    """
    batch_size = ops.shape(request.uniforms)[0]

    def next_pixel(x: Tensor, carry: Any) -> Any:
        row, nats, (previous, state) = carry
        here = request.at(x)
        predict = begin_pixel(x, previous, state)
        drawn, log_prob, state = prior.draw(predict, here.uniforms, here.options)
        value, log_prob = here.complete(drawn, log_prob)
        return put(row, value, x), nats + log_prob, (value, state)

    start = outside(prior, batch_size), ops.zeros((batch_size,), "float32"), before
    return ops.fori_loop(0, prior.grid_shape[1], next_pixel, start)


def carried_to(first: Tensor, rollout: Rollout, request: Request) -> Any:
    """What a rollout carries to row `first`."""
    if request.observed is None:
        return rollout.begin(ops.shape(request.uniforms)[0], request.condition)
    return rollout.begin_at(request.observed, request.condition, first)


def above(first: Tensor, prior: AutoregressivePrior, request: Request) -> Tensor:
    """The row above row `first` (B, W, C)."""
    nothing = outside(prior, ops.shape(request.uniforms)[0])
    if request.observed is None:
        return nothing
    return ops.where(first > 0, ops.take(request.observed, ops.maximum(first - 1, 0), axis=1), nothing)


def outside(prior: AutoregressivePrior, batch_size: Any) -> Tensor:
    """The row above the image (B, W, C)."""
    return ops.full((batch_size, *prior.grid_shape[1:]), OUTSIDE, "int32")


def rows(prior: AutoregressivePrior) -> np.ndarray:
    """The row of each value of a grid, as far as it depends on it: (H, 1, 1)."""
    return np.arange(prior.grid_shape[0], dtype="int32")[:, None, None]


def inputs(values: Tensor, condition: Tensor | None) -> Any:
    """What a prior is called with."""
    return values if condition is None else {"values": values, "condition": condition}


def put(parts: Tensor, part: Tensor, index: Tensor) -> Tensor:
    """`parts` (B, N, …) with `part` (B, …) at `index` of its second axis."""
    size, *inner = parts.shape[1:]
    return ops.where(ops.reshape(one_hot(index, size), (size, *[1] * len(inner))), part[:, None], parts)


def one_hot(index: Tensor, size: int) -> Tensor:
    """(size,) bool, True at `index`."""
    return ops.equal(np.arange(size, dtype="int32"), index)
