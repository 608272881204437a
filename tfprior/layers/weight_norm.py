"""Weight normalization with data-dependent initialization (Salimans & Kingma 2016, arXiv:1602.07868)."""

import abc
from typing import Any

import keras
from keras import ops

from tfprior.inputs import check_sizes
from tfprior.layers.streaming import project


class WeightNormalized(keras.layers.Layer, abc.ABC):
    """A linear layer with the kernel g · v / ‖v‖: a direction v and a scale g for every output channel.

    With `weight_norm=False` the kernel is an ordinary one, which computes the same and costs no
    normalization: what a trained network is turned into before it samples.

    Args:
        filters: output channels.
        weight_norm: whether the kernel is normalized.
        init_scale: standard deviation of the outputs after `initialize`.

    Raises:
        ValueError: for options out of range.
    """

    def __init__(
        self, filters: int, weight_norm: bool = True, init_scale: float = 1.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(type(self).__name__, filters=filters)
        if not init_scale > 0:
            raise ValueError(f"{type(self).__name__} got init_scale={init_scale}; expected more than 0.")
        self.filters = filters
        self.weight_norm = weight_norm
        self.init_scale = init_scale

    def add_kernel(self, *shape: int) -> None:
        """Creates the weights: a kernel (*shape, filters), a scale and a bias for every output channel."""
        shape = (*shape, self.filters)
        exact = {"autocast": False}  # normalized in float32 under every policy
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel", **exact)
        if self.weight_norm:
            self.scale = self.add_weight(shape=(self.filters,), initializer="ones", name="scale", **exact)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def effective_kernel(self) -> Any:
        """The kernel as it multiplies the inputs: g · v / ‖v‖, or the plain one."""
        kernel = ops.convert_to_tensor(self.kernel)
        if self.weight_norm:
            axes = tuple(range(len(kernel.shape) - 1))
            norm = ops.sqrt(ops.maximum(ops.sum(ops.square(kernel), axis=axes), 1e-12))
            kernel = kernel * (self.scale / norm)
        return ops.cast(kernel, self.compute_dtype)

    @abc.abstractmethod
    def linear(self, x: Any, kernel: Any) -> Any:
        """The layer without its bias, over the whole image."""

    def shift(self, y: Any) -> Any:
        """y plus the bias."""
        return y + ops.cast(self.bias, self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        return self.shift(self.linear(inputs, self.effective_kernel()))

    def initialize(self, x: Any) -> None:
        """Sets scale and bias so that over `x` every output channel has mean 0 and deviation `init_scale`.

        A channel that does not vary over `x` keeps its scale.
        """
        y = ops.cast(self.linear(x, self.effective_kernel()), "float32")
        mean, variance = ops.moments(y, axes=tuple(range(len(y.shape) - 1)))
        factor = ops.where(variance > 1e-10, self.init_scale / ops.sqrt(variance + 1e-10), 1.0)
        size = self.scale if self.weight_norm else self.kernel
        size.assign(size * factor)
        self.bias.assign(-mean * factor)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "weight_norm": self.weight_norm,
            "init_scale": self.init_scale,
        }


def initialize(layer: Any, x: Any) -> Any:
    """Initializes `layer` on `x` and applies it: a way to run a topology, as `over_image` is."""
    layer.initialize(x)
    return layer(x)


@keras.saving.register_keras_serializable("tfprior")
class WeightNormDense(WeightNormalized):
    """A dense layer on the last axis (a 1×1 convolution), weight-normalized: (…, C) → (…, filters).

    Raises:
        ValueError: for options out of range.
    """

    is_pointwise = True

    def build(self, input_shape: tuple[Any, ...]) -> None:
        self.add_kernel(input_shape[-1])
        self.built = True

    def linear(self, x: Any, kernel: Any) -> Any:
        return project(x, kernel)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)


def copy_with_plain_kernels(source: keras.Model, target: keras.Model) -> None:
    """Gives the weights of a model to one of the same layers, built with `weight_norm=False`."""
    for ours, theirs in zip(source._flatten_layers(), target._flatten_layers(), strict=True):
        if isinstance(ours, WeightNormalized):
            theirs.kernel.assign(ours.effective_kernel())
            theirs.bias.assign(ours.bias)
        elif ours.weights and not ours._layers:
            theirs.set_weights(ours.get_weights())
