"""What every prior is: a distribution of integer grids, with or without a condition."""

import abc
from typing import Any

import keras

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.float32_copies import in_float32
from tfprior.grid_model import GridModel
from tfprior.inputs import check_condition, check_grid_shape, check_values, is_integer


class Prior(GridModel):
    """p(values | condition) over an integer grid (H, W, C).

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: what the network's output means; its `num_levels` bounds the values.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.

    Raises:
        ValueError: for a shape that is no grid, or two kinds of condition at once.
    """

    kind = "prior"

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
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
        ordered_by_network = channels > 1 and not distribution.orders_channels
        self.channel_groups = channels if ordered_by_network else 1

    @abc.abstractmethod
    def call(self, inputs: Any, training: bool = False) -> Tensor:
        """Values (B, H, W, C), or a dict of "values" and "condition" → parameters (B, H, W, P)."""

    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        """Raises ValueError for values or a condition of the wrong shape, type or range."""
        check_values(values, self.grid_shape, self.num_levels)
        check_condition(condition, self.num_classes, self.condition_shape, values.shape[0])

    def for_sampling(self) -> "Prior":
        """A prior of the same weights, in float32, that samples faster where there is one; else this one."""
        return in_float32(self)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "grid_shape": self.grid_shape,
            "distribution": keras.saving.serialize_keras_object(self.distribution),
            "num_classes": self.num_classes,
            "condition_shape": self.condition_shape,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Prior":
        config = dict(config)
        distribution = config["distribution"]
        if isinstance(distribution, dict):
            config["distribution"] = keras.saving.deserialize_keras_object(distribution, custom_objects)
        return cls(**config)
