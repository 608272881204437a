"""Raster priors: a row at a time, a pixel at a time.

Shapes: B batch · H W C grid · D condition features · R features that a row hands to its pixels.
"""

import abc
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import as_array, check_condition
from tfprior.layers.streaming import State
from tfprior.layers.value_encoding import OUTSIDE, ValueEncoding
from tfprior.priors.base import Prior


class RasterPrior(Prior):
    """A prior in raster order whose network splits into a part run once a row and a part run once a pixel.

        row    rows above  ─────────────▶ features of the whole row (B, W, R)
        pixel  pixels to the left + features at the pixel ─────────────▶ parameters (B, P)

    `step` is composed of the two. Values outside the image, or not known yet, are `OUTSIDE`
    and read as zeros.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid_shape, distribution, num_classes, condition_shape, **kwargs)
        self.value_embedding_dim = value_embedding_dim
        self.class_embedding_dim = class_embedding_dim
        dtype = self.dtype_policy
        self.encode = ValueEncoding(distribution.num_levels, value_embedding_dim, dtype=dtype)
        self.class_embedding = (
            None
            if num_classes is None
            else keras.layers.Embedding(num_classes, class_embedding_dim, dtype=dtype)
        )

    def build(self, input_shape: Any = None) -> None:
        self.encode.build((None, *self.grid_shape))
        if self.class_embedding is not None:
            self.class_embedding.build((None,))
        self.build_network(self.encode.num_features(self.grid_shape[-1]), self._condition_features())
        self.built = True

    @abc.abstractmethod
    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        """Builds the layers for `features` input channels and a condition (None, 1 or H, 1 or W, D)."""

    def _condition_features(self) -> tuple[Any, ...] | None:
        if self.num_classes is not None:
            return (None, 1, 1, self.class_embedding_dim)
        if self.condition_shape is None:
            return None
        return (
            (None, *self.condition_shape)
            if len(self.condition_shape) == 3
            else (None, 1, 1, *self.condition_shape)
        )

    def encode_condition(self, condition: Tensor | None) -> Tensor | None:
        """Labels (B,), vectors (B, D) or maps (B, H, W, D) → features (B, 1 or H, 1 or W, D).

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        condition = as_array(condition)
        check_condition(condition, self.num_classes, self.condition_shape)
        if condition is None:
            return None
        if self.class_embedding is not None:
            condition = self.class_embedding(ops.cast(condition, "int32"))
        condition = ops.cast(condition, self.compute_dtype)
        return condition if len(condition.shape) == 4 else condition[:, None, None, :]

    @staticmethod
    def condition_row(condition: Tensor | None, y: Tensor) -> Tensor | None:
        """Row y (B,) of the condition's features: (B, 1 or W, D)."""
        if condition is None:
            return None
        return condition[:, 0] if condition.shape[1] == 1 else select(condition, y)

    # The two parts

    @abc.abstractmethod
    def row_state(self, batch_size: Any) -> State:
        """What `row` carries from row to row, at the top of the image."""

    @abc.abstractmethod
    def pixel_state(self, batch_size: Any) -> State:
        """What `pixel` carries from pixel to pixel, at the left end of a row."""

    @abc.abstractmethod
    def row(
        self, state: State, finished: Tensor, condition: Tensor | None, y: Tensor
    ) -> tuple[State, Tensor]:
        """Takes in the `finished` row (B, W, C) above row y (B,) → (row state, features (B, W, R))."""

    @abc.abstractmethod
    def pixel(self, state: State, features: Tensor, values: Tensor, position: Tensor) -> tuple[Tensor, State]:
        """One pixel at `position` (B,), from its features (B, R) → (parameters (B, P), pixel state).

        `values` (B, C) are the previous pixel's, or where the network orders the channels the pixel's own.
        """

    @abc.abstractmethod
    def row_params(self, state: State, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        """All pixels of row y (B,) at once, after `row`: its own values (B, W, C) → parameters (B, W, P)."""

    @property
    @abc.abstractmethod
    def num_features(self) -> int:
        """R, the features that a row hands to each of its pixels."""

    # One position at a time, composed of the two

    def initial_state(self, batch_size: Any, condition: Tensor | None = None) -> State:
        state, features = self.recurrent_state(batch_size), self.encode_condition(condition)
        return state if features is None else {**state, "condition": features}

    def recurrent_state(self, batch_size: Any) -> State:
        _, width, channels = self.grid_shape
        return {
            **self.row_state(batch_size),
            **self.pixel_state(batch_size),
            "features": ops.zeros((batch_size, width, self.num_features), self.compute_dtype),
            "row": ops.full((batch_size, width, channels), OUTSIDE, "int32"),
            "previous": ops.full((batch_size, channels), OUTSIDE, "int32"),
        }

    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in the value at `position` − 1, and a new row's features where `position` begins a row."""
        width = self.grid_shape[1]
        previous, position = ops.cast(previous, "int32"), ops.cast(position, "int32")
        starts = position % width == 0
        state = {**state, **where(starts, self.pixel_state(ops.shape(position)[0]), state)}
        state = self.advance_pixel(state, previous, position)
        before = (position + width - 1) % width
        written = (np.arange(width) == before[:, None]) & (position > 0)[:, None]
        state = {**state, "row": ops.where(written[..., None], previous[:, None], state["row"])}
        return self._begin_rows(state, position // width, starts)

    def advance_pixel(self, state: State, previous: Tensor, position: Tensor) -> State:
        """`advance` within a row: its features stand in the state, its left end began with `pixel_state`."""
        position = ops.cast(position, "int32")
        x = position % self.grid_shape[1]
        starts = x == 0
        previous = ops.where(starts[:, None], OUTSIDE, ops.cast(previous, "int32"))
        if self.channel_groups > 1:
            # Only now that all its channels are known can the pixel before join the caches.
            before = select(state["features"], ops.maximum(x - 1, 0))
            _, caches = self.pixel(state, before, previous, ops.maximum(position - 1, 0))
            state = {**state, **where(starts, {name: state[name] for name in caches}, caches)}
        return {**state, "previous": previous}

    def _begin_rows(self, state: State, y: Tensor, starts: Tensor) -> State:
        """Runs `row` if any example stands at the beginning of one, and keeps it for those that do."""

        def begin() -> State:
            rows, features = self.row(state, state["row"], state.get("condition"), y)
            return {**rows, "features": features}

        return {**state, **refresh(starts, begin, state, [*self.row_state(1), "features"])}

    def predict_pixel(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, given the channels known in `current` (B, C)."""
        position = ops.cast(position, "int32")
        features = select(state["features"], position % self.grid_shape[1])
        if self.channel_groups == 1:
            params, caches = self.pixel(state, features, state["previous"], position)
            return params, {**state, **caches}
        current = ops.full_like(state["previous"], OUTSIDE) if current is None else current
        params, _ = self.pixel(state, features, ops.cast(current, "int32"), position)
        return params, state

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_embedding_dim": self.value_embedding_dim,
            "class_embedding_dim": self.class_embedding_dim,
        }


def select(x: Tensor, index: Tensor) -> Tensor:
    """x[b, index[b]] for every b: (B, N, …), (B,) → (B, …)."""
    size, *inner = x.shape[1:]
    flat = ops.reshape(x, (-1, *inner))
    return ops.take(flat, ops.arange(ops.shape(index)[0], dtype="int32") * size + index, axis=0)


def where(chosen: Tensor, these: State, others: State) -> State:
    """The entries of `these`, for examples not `chosen` (B,) replaced by those of `others`."""
    by_rank = {
        rank: ops.reshape(chosen, (-1, *[1] * (rank - 1)))
        for rank in {len(value.shape) for value in these.values()}
    }
    return {name: ops.where(by_rank[len(value.shape)], value, others[name]) for name, value in these.items()}


def refresh(due: Tensor, run: Callable[[], State], state: State, names: Sequence[str]) -> State:
    """The entries `names` of a state: from `run()` for examples that are `due` (B,), else as they were.

    Where no example is due, `run` costs nothing.
    """

    def begin() -> list[Tensor]:
        renewed = where(due, run(), state)
        return [renewed[name] for name in names]

    def keep() -> list[Tensor]:
        return [state[name] for name in names]

    return dict(zip(names, ops.cond(ops.any(due), begin, keep), strict=True))
