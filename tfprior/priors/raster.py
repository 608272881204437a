"""Raster priors: a row at a time, a pixel at a time.

Shapes: B batch · H W C grid · D condition features · R features that a row hands to its pixels.
"""

import abc
from typing import Any

import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.condition_encoding import ConditionEncoding
from tfprior.layers.streaming import State, StateSpec, empty_state, refresh, select, where
from tfprior.layers.value_encoding import OUTSIDE, ValueEncoding
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.rollout import ByRow


class RasterPrior(AutoregressivePrior):
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
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid_shape,
            distribution,
            num_classes,
            condition_shape,
            condition_dropout=condition_dropout,
            **kwargs,
        )
        check_sizes(type(self).__name__, class_embedding_dim=class_embedding_dim)
        self.value_embedding_dim = value_embedding_dim
        self.class_embedding_dim = class_embedding_dim
        dtype = self.dtype_policy
        self.encode = ValueEncoding(distribution.num_levels, value_embedding_dim, dtype=dtype)
        self.read_condition = ConditionEncoding(
            num_classes, class_embedding_dim, condition_dropout, dtype=dtype
        )

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.encode.build((None, *self.grid_shape))
        condition = self.read_condition.build_for(self.condition_shape) if self.is_conditional else None
        self.build_network(self.encode.num_features(self.grid_shape[-1]), condition)
        self.built = True

    @abc.abstractmethod
    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        """Builds the layers for `features` input channels and a condition (None, 1 or H, 1 or W, D)."""

    def encode_condition(self, condition: Tensor | None) -> Tensor | None:
        """Labels (B,), vectors (B, D) or maps (B, H, W, D) → features (B, 1 or H, 1 or W, D).

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        condition = super().encode_condition(condition)
        return None if condition is None else self.read_condition(condition)

    @staticmethod
    def condition_row(condition: Tensor | None, y: Tensor) -> Tensor | None:
        """Row y (B,) of the condition's features: (B, 1 or W, D)."""
        if condition is None:
            return None
        return condition[:, 0] if condition.shape[1] == 1 else select(condition, y)

    # The two parts

    @abc.abstractmethod
    def row_spec(self) -> State:
        """What `row` carries from row to row: names, or kinds of them, to specifications."""

    @abc.abstractmethod
    def pixel_spec(self) -> State:
        """What `pixel` carries from pixel to pixel, from the left end of a row."""

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

    @staticmethod
    def features_at(features: Tensor, x: Tensor) -> Tensor:
        """Those that a row (B, W, R) hands to its pixel x (B,): (B, R)."""
        return select(features, x)

    # A pixel within its row

    def advance_pixel(
        self, caches: State, left: Tensor, previous: Tensor, position: Tensor
    ) -> tuple[State, Tensor]:
        """Takes in the pixel to the left of `position` (B,): its features `left` (B, R), its value (B, C).

        Gives the caches, and the previous value as the network sees it: at the left end there is none. Where
        the network orders the channels, it is only now that all of them are known and can join the caches.
        """
        starts = position % self.grid_shape[1] == 0
        previous = ops.where(starts[:, None], OUTSIDE, ops.cast(previous, "int32"))
        if self.channel_groups == 1:
            return caches, previous
        _, absorbed = self.pixel(caches, left, previous, ops.maximum(position - 1, 0))
        return where(starts, caches, absorbed), previous

    def pixel_params(
        self,
        caches: State,
        features: Tensor,
        previous: Tensor,
        position: Tensor,
        current: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, from its features (B, R) and what `advance_pixel` gave."""
        if self.channel_groups == 1:
            return self.pixel(caches, features, previous, position)
        current = ops.full_like(previous, OUTSIDE) if current is None else ops.cast(current, "int32")
        return self.pixel(caches, features, current, position)[0], caches

    # One position at a time, composed of the two

    @property
    def rollout(self) -> ByRow:
        return ByRow(self)

    def state_spec(self) -> State:
        _, width, channels = self.grid_shape
        return {
            "row": {
                "carried": self.row_spec(),
                "features": StateSpec((width, self.num_features), self.compute_dtype),
                "values": StateSpec((width, channels), "int32", OUTSIDE),
            },
            "pixel": {
                "caches": self.pixel_spec(),
                "previous": StateSpec((channels,), "int32", OUTSIDE),
            },
        }

    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in the value at `position` − 1, and a new row's features where `position` begins a row."""
        width = self.grid_shape[1]
        previous, position = ops.cast(previous, "int32"), ops.cast(position, "int32")
        x, row = position % width, state["row"]
        starts = x == 0
        caches = where(
            starts, empty_state(self.pixel_spec(), ops.shape(position)[0]), state["pixel"]["caches"]
        )
        left = select(row["features"], ops.maximum(x - 1, 0))
        caches, seen = self.advance_pixel(caches, left, previous, position)
        before = (position + width - 1) % width
        written = (np.arange(width) == before[:, None]) & (position > 0)[:, None]
        values = ops.where(written[..., None], previous[:, None], row["values"])

        def begin_row() -> State:
            carried, features = self.row(row["carried"], values, state.get("condition"), position // width)
            return {"carried": carried, "features": features}

        begun = refresh(starts, begin_row, {name: row[name] for name in ("carried", "features")})
        return {
            **state,
            "row": {**begun, "values": values},
            "pixel": {"caches": caches, "previous": seen},
        }

    def params_at(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, given the channels known in `current` (B, C)."""
        position = ops.cast(position, "int32")
        caches, previous = state["pixel"]["caches"], state["pixel"]["previous"]
        features = select(state["row"]["features"], position % self.grid_shape[1])
        params, caches = self.pixel_params(caches, features, previous, position, current)
        return params, {**state, "pixel": {"caches": caches, "previous": previous}}

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "value_embedding_dim": self.value_embedding_dim,
            "class_embedding_dim": self.class_embedding_dim,
        }
