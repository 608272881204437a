"""The loops that draw grids row by row.

Shapes: B batch · H W C grid · K uniforms a pixel · P parameters of a pixel.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors.base import Predict, Prior
from tfprior.priors.raster import RasterPrior
from tfprior.sampling.request import Request

BeginPixel = Callable[[Tensor, Tensor, Any], Predict]


class Loop(abc.ABC):
    """Draws whole grids in one graph: uniforms (B, H, W, K) → values (B, H, W, C) and their nats (B,).

    A loop is what it carries from row to row, and how it draws one row: so a grid can also be drawn a row
    at a time, where someone watches.
    """

    rasters_only: ClassVar[bool] = False
    """Whether it draws from a `RasterPrior` alone."""

    def __call__(
        self,
        prior: Prior,
        uniforms: Tensor,
        condition: Tensor | None = None,
        temperature: Tensor | float = 1.0,
        top_k: Tensor | None = None,
        top_p: Tensor | None = None,
        observed: Tensor | None = None,
        hidden: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        values, nats, _ = self.draw(
            prior, Request(uniforms, condition, temperature, top_k, top_p, observed, hidden)
        )
        return values, nats

    def draw(self, prior: Prior, request: Request) -> tuple[Tensor, Tensor, Any]:
        """Values (B, H, W, C), nats (B,), and what the last row would have carried on."""
        batch_size = ops.shape(request.uniforms)[0]

        def next_row(y: Tensor, carry: Any) -> Any:
            image, nats, before = carry
            row, log_prob, before = self.next_row(prior, before, y, request)
            return put(image, row, y), nats + log_prob, before

        image = ops.full((batch_size, *prior.grid_shape), OUTSIDE, "int32")
        start = image, ops.zeros((batch_size,), "float32"), self.begin(prior, batch_size, request.condition)
        return ops.fori_loop(0, prior.grid_shape[0], next_row, start)

    def next_row(self, prior: Prior, before: Any, y: Tensor, request: Request) -> tuple[Tensor, Tensor, Any]:
        """Row y of what is asked for: (values (B, W, C), nats (B,), what is carried to the next row)."""
        return self.row(prior, before, y, request.at(y))

    @abc.abstractmethod
    def begin(self, prior: Any, batch_size: Any, condition: Tensor | None) -> Any:
        """What is carried to the first row."""

    @abc.abstractmethod
    def row(self, prior: Any, before: Any, y: Tensor, request: Request) -> tuple[Tensor, Tensor, Any]:
        """Row y as `request` asks for it: (values (B, W, C), nats (B,), what is carried to the next row)."""


class Cached(Loop):
    """The part of a raster prior that runs once a row, and the part that runs once a pixel."""

    rasters_only = True

    def begin(self, prior: RasterPrior, batch_size: Any, condition: Tensor | None) -> Any:
        return prior.row_state(batch_size), outside(prior, batch_size)

    def row(self, prior: RasterPrior, before: Any, y: Tensor, request: Request) -> Any:
        (states, above), width = before, prior.grid_shape[1]
        batch_size = ops.shape(request.uniforms)[0]
        condition = prior.encode_condition(request.condition)
        states, features = prior.row(states, above, condition, each(batch_size, y))

        def begin_pixel(x: Tensor, previous: Tensor, caches: Any) -> Predict:
            position = each(batch_size, y * width + x)
            here = ops.take(features, x, axis=1)
            if prior.channel_groups == 1:
                return lambda _: prior.pixel(caches, here, previous, position)
            # The caches take in the previous pixel once all its channels are known; at the left end of a
            # row there is none.
            left = ops.take(features, ops.maximum(x - 1, 0), axis=1)
            _, absorbed = prior.pixel(caches, left, previous, ops.maximum(position - 1, 0))
            known = {name: ops.where(x > 0, absorbed[name], caches[name]) for name in caches}
            return lambda current: (prior.pixel(known, here, current, position)[0], known)

        start = outside(prior, batch_size)[:, 0], prior.pixel_state(batch_size)
        row, nats, _ = pixel_by_pixel(prior, request, start, begin_pixel)
        return row, nats, (states, row)


class Stepwise(Loop):
    """One `step` a position."""

    def begin(self, prior: Prior, batch_size: Any, condition: Tensor | None) -> Any:
        return outside(prior, batch_size)[:, 0], prior.initial_state(batch_size, condition)

    def row(self, prior: Prior, before: Any, y: Tensor, request: Request) -> Any:
        width, batch_size = prior.grid_shape[1], ops.shape(request.uniforms)[0]

        def begin_pixel(x: Tensor, previous: Tensor, state: Any) -> Predict:
            position = each(batch_size, y * width + x)
            state = prior.advance(state, previous, position)
            return lambda current: prior.predict_pixel(state, position, current)

        return pixel_by_pixel(prior, request, before, begin_pixel)


class Full(Loop):
    """The definition: the whole network for every channel of every pixel."""

    def begin(self, prior: Prior, batch_size: Any, condition: Tensor | None) -> Any:
        # What the image holds at positions to come does not matter: the network cannot see them.
        return outside(prior, batch_size)[:, 0], ops.zeros((batch_size, *prior.grid_shape), "int32")

    def row(self, prior: Prior, before: Any, y: Tensor, request: Request) -> Any:
        height, width, channels = prior.grid_shape
        shape = (-1, height * width, prior.distribution.num_params(channels))

        def set_pixel(image: Tensor, value: Tensor, position: Tensor) -> Tensor:
            here = ops.reshape(one_hot(position, height * width), (height, width, 1))
            return ops.where(here, value[:, None, None], image)

        def begin_pixel(x: Tensor, previous: Tensor, image: Tensor) -> Predict:
            position = y * width + x
            image = set_pixel(image, previous, position - 1)

            def predict(current: Tensor | None) -> tuple[Tensor, Any]:
                grid = image if current is None else set_pixel(image, current, position)
                params = prior(inputs(grid, request.condition))
                return ops.take(ops.reshape(params, shape), position, axis=1), image

            return predict

        return pixel_by_pixel(prior, request, before, begin_pixel)


class ParallelRows(Loop):
    """All pixels of a row at once, from what they were before, until the row no longer changes.

    Jacobi iteration within a row and Gauss–Seidel over rows. A row takes no more runs than it has values.
    """

    rasters_only = True

    def begin(self, prior: RasterPrior, batch_size: Any, condition: Tensor | None) -> Any:
        return prior.row_state(batch_size), outside(prior, batch_size), ops.zeros((batch_size,), "int32")

    def row(self, prior: RasterPrior, before: Any, y: Tensor, request: Request) -> Any:
        states, above, runs = before
        batch_size = ops.shape(request.uniforms)[0]
        ys = each(batch_size, y)
        states, features = prior.row(states, above, prior.encode_condition(request.condition), ys)
        options = request.temperature, request.top_k, request.top_p

        def refine(row: Tensor, nats: Tensor, moving: Tensor, runs: Tensor) -> Any:
            params = prior.row_params(states, features, row, ys)
            drawn, nats = prior.distribution.sample(params, request.uniforms, *options)
            drawn, nats = request.complete(drawn, nats)
            runs = runs + ops.cast(moving, "int32")
            return drawn, ops.sum(nats, axis=1), moving & ops.any(drawn != row, axis=(1, 2)), runs

        guess = ops.zeros_like(above) if request.observed is None else request.observed
        start = guess, ops.zeros((batch_size,), "float32"), ops.full((batch_size,), True, "bool"), runs
        row, nats, _, runs = ops.while_loop(
            lambda row, nats, moving, runs: ops.any(moving),
            refine,
            start,
            maximum_iterations=prior.grid_shape[1] * prior.channel_groups,
        )
        return row, nats, (states, row, runs)


cached, stepwise, full, parallel_rows = Cached(), Stepwise(), Full(), ParallelRows()


def pixel_by_pixel(
    prior: Prior, request: Request, before: tuple[Tensor, Any], begin_pixel: BeginPixel
) -> tuple[Tensor, Tensor, tuple[Tensor, Any]]:
    """Draws a row from left to right → its values (B, W, C), nats (B,), and what comes after `before`.

    `before` is the last value (B, C) and a state; `begin_pixel(x, last value, state)` gives what predicts the
    pixel: its parameters and the next state.
    """
    batch_size = ops.shape(request.uniforms)[0]

    def next_pixel(x: Tensor, carry: Any) -> Any:
        row, nats, (previous, state) = carry
        here = request.at(x)
        options = here.temperature, here.top_k, here.top_p
        drawn, log_prob, state = prior.draw(begin_pixel(x, previous, state), here.uniforms, *options)
        value, log_prob = here.complete(drawn, log_prob)
        return put(row, value, x), nats + log_prob, (value, state)

    start = outside(prior, batch_size), ops.zeros((batch_size,), "float32"), before
    return ops.fori_loop(0, prior.grid_shape[1], next_pixel, start)


def outside(prior: Prior, batch_size: Any) -> Tensor:
    """The row above the image (B, W, C)."""
    return ops.full((batch_size, *prior.grid_shape[1:]), OUTSIDE, "int32")


def inputs(values: Tensor, condition: Tensor | None) -> Any:
    """What a prior is called with."""
    return values if condition is None else {"values": values, "condition": condition}


def each(batch_size: Any, number: Tensor) -> Tensor:
    """The number for every example: (B,) int32."""
    return ops.full((batch_size,), 1, "int32") * number


def put(whole: Tensor, part: Tensor, index: Tensor) -> Tensor:
    """`whole` (B, N, …) with `part` (B, …) at `index` of its second axis."""
    size, *inner = whole.shape[1:]
    return ops.where(ops.reshape(one_hot(index, size), (size, *[1] * len(inner))), part[:, None], whole)


def one_hot(index: Tensor, size: int) -> Tensor:
    """(size,) bool, True at `index`."""
    return ops.equal(np.arange(size, dtype="int32"), index)
