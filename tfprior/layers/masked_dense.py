"""The 1×1 masked convolution."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.masks import MaskType, channel_mask, check_groups, check_mask_options
from tfprior.layers.streaming import project


@keras.saving.register_keras_serializable("tfprior")
class MaskedDense(keras.layers.Layer):
    """1×1 masked convolution on the last axis, for whole images and single pixels alike.

    (…, C) → (…, filters). Channels lie in `groups` ordered groups; type A shows an output group only the
    input groups before it, type B its own group too. With one group and type B it is an ordinary dense layer.

    Raises:
        ValueError: for an unknown mask type, or channels that do not split into the groups.
    """

    is_pointwise = True

    def __init__(
        self, filters: int, mask_type: MaskType = "B", groups: int = 1, use_bias: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        check_mask_options(mask_type, filters, groups, type(self).__name__)
        self.filters = filters
        self.mask_type = mask_type
        self.groups = groups
        self.use_bias = use_bias

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = input_shape[-1]
        check_groups("input channels", channels, self.groups, type(self).__name__)
        self.kernel = self.add_weight(
            shape=(channels, self.filters), initializer="glorot_uniform", name="kernel"
        )
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        mask = channel_mask(self.mask_type, channels, self.filters, self.groups)
        self._mask = None if mask.all() else mask
        self.built = True

    def call(self, inputs: Any) -> Any:
        kernel = ops.cast(self.kernel, self.compute_dtype)
        if self._mask is not None:
            kernel = kernel * ops.cast(self._mask, self.compute_dtype)
        y = project(inputs, kernel)
        return y + ops.cast(self.bias, self.compute_dtype) if self.use_bias else y

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.filters)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "mask_type": self.mask_type,
            "groups": self.groups,
            "use_bias": self.use_bias,
        }
