"""What every prior is: a distribution of integer grids, with or without a condition.

Shapes: N images · B batch · H W C grid · P parameters of a pixel, or positions · K uniforms of a pixel.
"""

import abc
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.condition_kind import ConditionKind
from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.distributions.options import PLAIN, SamplingOptions
from tfprior.float32_copies import in_float32
from tfprior.grid_model import GridModel
from tfprior.image_model import ImageModel
from tfprior.inputs import (
    as_array,
    check_condition,
    check_grid_shape,
    check_values,
    is_integer,
    num_to_complete,
)
from tfprior.layers.streaming import StateSpec
from tfprior.layers.value_encoding import OUTSIDE

Predict = Callable[[Tensor | None], tuple[Tensor, Any]]
"""The channels of a pixel known so far (B, C), or None → parameters (B, P), and what comes after it."""


class Prior(GridModel, ImageModel):
    """p(values | condition) over an integer grid (H, W, C).

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: what the network's output means; its `num_levels` bounds the values.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        condition_dropout: share of training examples that lose their condition.

    Attributes:
        end_value: of sequences, which hold nothing else after it; None for grids without an end.

    Raises:
        ValueError: for a shape that is no grid, two kinds of condition at once, and dropout of none.
    """

    kind = "prior"
    end_value: int | None = None

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        condition_dropout: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grid_shape = check_grid_shape(grid_shape)
        if not isinstance(distribution, OutputDistribution):
            raise ValueError(f"distribution={distribution!r}; expected one of tfprior.distributions.")
        if num_classes is not None and condition_shape is not None:
            raise ValueError("Got num_classes and condition_shape; expected one kind of condition.")
        if num_classes is not None and (not is_integer(num_classes) or num_classes < 1):
            raise ValueError(f"num_classes={num_classes!r}; expected a positive number of classes.")
        height, width, channels = self.grid_shape
        shape = tuple(condition_shape) if isinstance(condition_shape, tuple | list) else ()
        fits = len(shape) == 1 or (len(shape) == 3 and shape[:2] == (height, width))
        if condition_shape is not None and not (fits and shape[-1] > 0):
            raise ValueError(
                f"condition_shape={condition_shape}; expected (D,) for vectors or ({height}, {width}, D) for "
                "maps as large as the grid: resize the maps first."
            )
        self.distribution = distribution
        self.num_classes = num_classes
        self.condition_shape = shape or None
        self.condition_kind = ConditionKind.of(num_classes, self.condition_shape)
        is_share = isinstance(condition_dropout, int | float) and 0 <= condition_dropout < 1
        if not is_share or (condition_dropout and self.condition_kind is None):
            raise ValueError(
                f"condition_dropout={condition_dropout!r}; expected a share in [0, 1), and 0 without a "
                "condition."
            )
        self.condition_dropout = condition_dropout
        ordered_by_network = channels > 1 and not distribution.orders_channels
        self.channel_groups = channels if ordered_by_network else 1
        self.num_steps = math.prod(self.grid_shape[:2])

    @abc.abstractmethod
    def call(self, inputs: Any, training: bool = False) -> Tensor:
        """Values (B, H, W, C), or a dict of "values" and "condition" → parameters (B, H, W, P)."""

    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        """Raises ValueError for values or a condition of the wrong shape, type or range."""
        check_values(values, self.grid_shape, self.num_levels)
        check_condition(condition, self.condition_kind, values.shape[0])

    def encode_condition(self, condition: Tensor | None) -> Tensor | None:
        """The condition as the network reads it; None without one.

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """
        condition = as_array(condition)
        check_condition(condition, self.condition_kind, may_be_none=self.condition_dropout > 0)
        return condition

    def memory_spec(self) -> dict[str, StateSpec] | None:
        """What `encode_condition` gives by name, where that is more than a bundle's steps should do each.

        None of conditions that every step reads anew.
        """
        return None

    # Drawing

    @abc.abstractmethod
    def drawing_order(self, order: Any, count: int, hidden: np.ndarray | None) -> np.ndarray | None:
        """The order (B, P) in which `count` grids are drawn, of which some of (B, H, W) may be hidden alone.

        None of raster order, the only one that most priors know.

        Raises:
            ValueError: for what is no order, and one that the prior does not know.
        """

    def draw(
        self, predict: Predict, uniforms: Tensor, options: SamplingOptions = PLAIN
    ) -> tuple[Tensor, Tensor, Any]:
        """Draws one pixel: at once, or channel by channel where the network orders the channels."""
        sample = self.distribution.sample
        if self.channel_groups == 1:
            params, state = predict(None)
            return *sample(params, uniforms, options), state
        size = self.distribution.num_params(1)
        unknown = ops.full_like(ops.cast(uniforms, "int32"), OUTSIDE)
        value = unknown[:, :0]
        log_prob: Any = 0.0
        for channel in range(self.grid_shape[-1]):
            params, state = predict(ops.concatenate([value, unknown[:, channel:]], axis=-1))
            its_params = params[:, channel * size : (channel + 1) * size]
            drawn, nats = sample(its_params, uniforms[:, channel : channel + 1], options)
            value = ops.concatenate([value, drawn], axis=-1)
            log_prob = log_prob + nats
        return value, log_prob, state

    def for_sampling(self) -> "Prior":
        """A prior of the same weights, in float32, that samples faster where there is one; else this one."""
        return in_float32(self)

    # As a model of images

    def chain(self) -> list["Prior"]:
        return [self]

    def grids_of(self, images: Any) -> list[Any]:
        return [images]

    def condition_of(self, coarser: list[Tensor], condition: Tensor | None) -> Tensor | None:
        return condition

    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> dict[str, np.ndarray]:
        from tfprior import sampling

        return {"values": sampling.sample(self, num_samples, condition, **options)}

    def complete(self, images: Any, mask: Any, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws what is hidden of images (N, H, W, C): mask (H, W) or (N, H, W), True where hidden.

        What is hidden is drawn given what comes before it in raster order, or of any-order and masked priors
        given all that is known, by the options of `tfprior.sampling.sample`.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        from tfprior import sampling

        images = as_array(images)
        count = num_to_complete(images, mask)
        return sampling.sample(self, count, condition, observed=images, mask=mask, **options)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "grid_shape": self.grid_shape,
            "distribution": keras.saving.serialize_keras_object(self.distribution),
            "num_classes": self.num_classes,
            "condition_shape": self.condition_shape,
            "condition_dropout": self.condition_dropout,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Prior":
        config = dict(config)
        distribution = config["distribution"]
        if isinstance(distribution, dict):
            config["distribution"] = keras.saving.deserialize_keras_object(distribution, custom_objects)
        return cls(**config)
