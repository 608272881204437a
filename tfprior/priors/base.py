"""The contract of a prior."""

import abc
import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.grid_model import GridModel
from tfprior.inputs import as_array, check_condition, check_grid_shape, check_values
from tfprior.layers.streaming import State
from tfprior.layers.value_encoding import OUTSIDE

Predict = Callable[[Tensor | None], tuple[Tensor, State]]


class Prior(GridModel):
    """p(values | condition) over an integer grid (H, W, C), by the chain rule in `num_steps` steps.

    It runs two ways with the same numbers: `call` over the whole grid (training, likelihood), and `step` one
    position at a time (sampling, serving), state in and state out.

    `fit(images)`, or `fit({"values": images, "condition": labels})`, needs no loss: it minimises the negative
    log-likelihood in nats per dimension and reports `bits_per_dim`.

    Args:
        grid_shape: (H, W, C) of the values.
        distribution: what the network's output means; its `num_levels` bounds the values.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.

    Raises:
        ValueError: for a shape that is no grid, or two kinds of condition at once.
    """

    noun = "prior"

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
        if num_classes is not None and num_classes < 1:
            raise ValueError(f"num_classes={num_classes}; expected a positive number of classes.")
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
        self.num_steps = height * width
        ordered_by_network = channels > 1 and not distribution.orders_channels
        self.channel_groups = channels if ordered_by_network else 1
        self._bits_per_dim = keras.metrics.Mean(name="bits_per_dim")

    # One position at a time

    @abc.abstractmethod
    def initial_state(self, batch_size: Any, condition: Tensor | None = None) -> State:
        """The state before the first step: name → tensor (B, …).

        It is `recurrent_state`, and for a conditional prior entry "condition", which no step changes.

        Raises:
            ValueError: for a condition that is missing, or of the wrong shape, type or range.
        """

    @abc.abstractmethod
    def recurrent_state(self, batch_size: Any) -> State:
        """What steps change, before the first one: name → tensor (B, …)."""

    @abc.abstractmethod
    def advance(self, state: State, previous: Tensor, position: Tensor) -> State:
        """Takes in `previous` (B, C), the value at `position` − 1; ignored where `position` (B,) is 0."""

    @abc.abstractmethod
    def predict_pixel(
        self, state: State, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Parameters (B, P) at `position`, after `advance`; see `step` for `current`."""

    def step(
        self, state: State, previous: Tensor, position: Tensor, current: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """State, the value before (B, C), position (B,) in raster order → parameters (B, P), state.

        Examples may stand at different positions. Where the network orders the channels, the parameters of
        channel c hold given the channels before it in `current` (B, C).
        """
        return self.predict_pixel(self.advance(state, previous, position), position, current)

    def sample_step(
        self,
        state: State,
        previous: Tensor,
        position: Tensor,
        uniforms: Tensor,
        temperature: Tensor | float = 1.0,
        top_k: Tensor | int | None = None,
        top_p: Tensor | float | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """One step that draws: uniforms (B, K) → (value (B, C) int32, log_prob (B,) nats, state)."""
        state = self.advance(state, previous, position)
        return self.draw(
            lambda current: self.predict_pixel(state, position, current), uniforms, temperature, top_k, top_p
        )

    def draw(
        self,
        predict: Predict,
        uniforms: Tensor,
        temperature: Tensor | float = 1.0,
        top_k: Tensor | int | None = None,
        top_p: Tensor | float | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Draws one pixel: at once, or channel by channel where the network orders the channels."""
        sample = self.distribution.sample
        if self.channel_groups == 1:
            params, state = predict(None)
            return *sample(params, uniforms, temperature, top_k, top_p), state
        channels = self.grid_shape[-1]
        size = self.distribution.num_params(1)
        unknown = ops.full_like(ops.cast(uniforms, "int32"), OUTSIDE)
        value = unknown[:, :0]
        log_prob: Any = 0.0
        for channel in range(channels):
            current = ops.concatenate([value, unknown[:, channel:]], axis=-1)
            params, state = predict(current)
            drawn, nats = sample(
                params[:, channel * size : (channel + 1) * size],
                uniforms[:, channel : channel + 1],
                temperature,
                top_k,
                top_p,
            )
            value = ops.concatenate([value, drawn], axis=-1)
            log_prob = log_prob + nats
        return value, log_prob, state

    # Whole grids

    def pixel_log_prob(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        """Exact log-likelihood of each pixel given those before it, in nats: (B, H, W, C) → (B, H, W).

        Raises:
            ValueError: for values or a condition of the wrong shape, type or range.
        """
        values, condition = as_array(values), as_array(condition)
        self.check_inputs(values, condition)
        inputs = values if condition is None else {"values": values, "condition": condition}
        return self.distribution.log_prob(self(inputs, training=False), values)

    def log_prob(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        """Exact log-likelihood in nats, the sum of `pixel_log_prob`: values (B, H, W, C) → (B,).

        Raises:
            ValueError: for values or a condition of the wrong shape, type or range.
        """
        return ops.sum(self.pixel_log_prob(values, condition), axis=(1, 2))

    def bits_per_dim(self, values: Tensor, condition: Tensor | None = None) -> Tensor:
        """−log2 p / (H · W · C): values (B, H, W, C) → (B,)."""
        return self.log_prob(values, condition) / (-math.log(2) * self.num_dims)

    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        """Raises ValueError for values or a condition of the wrong shape, type or range."""
        check_values(values, self.grid_shape, self.distribution.num_levels)
        check_condition(condition, self.num_classes, self.condition_shape, values.shape[0])

    # Training

    def for_sampling(self) -> "Prior":
        """A prior of the same weights that samples faster, where there is one; else this one."""
        return self

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """Mean negative log-likelihood in nats per dimension, plus the layers' own losses."""
        values, _ = self.unpack(x)
        nats = -ops.sum(self.distribution.log_prob(y_pred, values), axis=(1, 2)) / self.num_dims
        self._bits_per_dim.update_state(nats / math.log(2), sample_weight)
        return self.mean_of(nats, sample_weight) + sum(self.losses)

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
