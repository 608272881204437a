"""A prior led along its grid, all examples at the same position: what loops and codecs are written against.

    carried = rollout.begin(batch_size, condition)                     or begin_at, below rows that are known
    row = rollout.begin_row(carried, finished, condition, y)           the row above comes in
        pixel = rollout.advance(row.fixed, pixel, previous, y, x)      the pixel before comes in
        params, pixel = rollout.predict(row.fixed, pixel, y, x)        … and the next one is predicted
    carried = rollout.end_row(row, pixel)

Shapes: B batch · H W C grid · P parameters of a pixel.
"""

import abc
from typing import TYPE_CHECKING, Any, NamedTuple

from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.streaming import State, empty_state
from tfprior.layers.value_encoding import OUTSIDE

if TYPE_CHECKING:
    from tfprior.priors.autoregressive import AutoregressivePrior
    from tfprior.priors.causal_decoder import CausalDecoder
    from tfprior.priors.raster import RasterPrior


class Row(NamedTuple):
    """A row that has begun.

    Attributes:
        carried: for the row after it, where no pixel changes that.
        fixed: what its pixels read and leave as it is.
        pixel: what they change, before the first one.
    """

    carried: Any
    fixed: Any
    pixel: Any


class Rollout(abc.ABC):
    """How a prior is led along its grid."""

    @abc.abstractmethod
    def begin(self, batch_size: Any, condition: Tensor | None) -> Any:
        """What is carried to the first row."""

    @abc.abstractmethod
    def begin_at(self, grids: Tensor, condition: Tensor | None, y: Tensor) -> Any:
        """What is carried to row y, a number, where the rows above it are those of `grids` (B, H, W, C)."""

    @abc.abstractmethod
    def begin_row(self, carried: Any, finished: Tensor, condition: Tensor | None, y: Tensor) -> Row:
        """Row y, a number, below the `finished` one (B, W, C)."""

    @abc.abstractmethod
    def advance(self, fixed: Any, pixel: Any, previous: Tensor, y: Tensor, x: Tensor) -> Any:
        """Takes in `previous` (B, C), the value before the one at (y, x) in raster order."""

    @abc.abstractmethod
    def predict(
        self, fixed: Any, pixel: Any, y: Tensor, x: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Parameters (B, P) at (y, x), and what the pixel changed; see `step` for `current`."""

    @abc.abstractmethod
    def end_row(self, row: Row, pixel: Any) -> Any:
        """What is carried to the next row."""


class ByStep(Rollout):
    """One `step` a position, for any autoregressive prior: its whole state goes from pixel to pixel."""

    def __init__(self, prior: "AutoregressivePrior") -> None:
        self.prior = prior
        self.width = prior.grid_shape[1]

    def begin(self, batch_size: Any, condition: Tensor | None) -> State:
        return self.prior.initial_state(batch_size, condition)

    def begin_at(self, grids: Tensor, condition: Tensor | None, y: Tensor) -> State:
        flat = ops.reshape(grids, (-1, self.prior.num_steps, grids.shape[-1]))

        def take_in(position: Tensor, state: State) -> State:
            previous = ops.take(flat, ops.maximum(position - 1, 0), axis=1)
            at, current = of_all(flat, position), ops.take(flat, position, axis=1)
            return self.prior.params_at(self.prior.advance(state, previous, at), at, current)[1]

        return ops.fori_loop(0, y * self.width, take_in, self.begin(ops.shape(flat)[0], condition))

    def begin_row(self, carried: State, finished: Tensor, condition: Tensor | None, y: Tensor) -> Row:
        return Row((), of_all(finished, y * self.width), carried)

    def advance(self, fixed: Tensor, pixel: State, previous: Tensor, y: Tensor, x: Tensor) -> State:
        return self.prior.advance(pixel, previous, fixed + x)

    def predict(
        self, fixed: Tensor, pixel: State, y: Tensor, x: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        return self.prior.params_at(pixel, fixed + x, current)

    def end_row(self, row: Row, pixel: State) -> State:
        return pixel


class AlongSequence(ByStep):
    """Steps of a prior that takes in at once what is known, and a position that is the same for all."""

    prior: "CausalDecoder"

    def begin_at(self, grids: Tensor, condition: Tensor | None, y: Tensor) -> State:
        return self.prior.prefill(grids, condition)

    def begin_row(self, carried: State, finished: Tensor, condition: Tensor | None, y: Tensor) -> Row:
        return Row((), y * self.width, carried)


class ByRow(Rollout):
    """`row` once a row and `pixel` once a pixel, for raster priors: rows carry little, and pixels less."""

    def __init__(self, prior: "RasterPrior") -> None:
        self.prior = prior
        self.width = prior.grid_shape[1]

    def begin(self, batch_size: Any, condition: Tensor | None) -> State:
        return empty_state(self.prior.row_spec(), batch_size)

    def begin_at(self, grids: Tensor, condition: Tensor | None, y: Tensor) -> State:
        features = self.prior.encode_condition(condition)

        def take_in(row: Tensor, before: tuple[State, Tensor]) -> tuple[State, Tensor]:
            carried, _ = self.prior.row(*before, features, of_all(grids, row))
            return carried, ops.take(grids, row, axis=1)

        above = ops.full_like(grids[:, 0], OUTSIDE)
        return ops.fori_loop(0, y, take_in, (self.begin(ops.shape(grids)[0], None), above))[0]

    def begin_row(self, carried: State, finished: Tensor, condition: Tensor | None, y: Tensor) -> Row:
        features_of_condition = self.prior.encode_condition(condition)
        carried, features = self.prior.row(carried, finished, features_of_condition, of_all(finished, y))
        return Row(carried, features, empty_state(self.prior.pixel_spec(), ops.shape(finished)[0]))

    def advance(
        self, fixed: Tensor, pixel: State, previous: Tensor, y: Tensor, x: Tensor
    ) -> tuple[State, Tensor]:
        left = ops.take(fixed, ops.maximum(x - 1, 0), axis=1)
        return self.prior.advance_pixel(pixel, left, previous, of_all(previous, y * self.width + x))

    def predict(
        self, fixed: Tensor, pixel: tuple[State, Tensor], y: Tensor, x: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        caches, previous = pixel
        position = of_all(previous, y * self.width + x)
        return self.prior.pixel_params(caches, ops.take(fixed, x, axis=1), previous, position, current)

    def end_row(self, row: Row, pixel: State) -> State:
        return row.carried


def of_all(examples: Tensor, number: Tensor) -> Tensor:
    """The number for each of the examples (B, …): (B,) int32."""
    return ops.full((ops.shape(examples)[0],), 1, "int32") * number
