"""The dense layer of every network that runs over sequences and over single tokens."""

from typing import Any

import keras
from keras import ops

from tfprior.layers.streaming import project


class PointwiseDense(keras.layers.Dense):
    """Keras's dense layer as one product of matrices, however many axes come before the last one.

    (…, C) → (…, units). Exported steps then work out no shapes at run time.
    """

    is_pointwise = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        y = project(inputs, ops.cast(self.kernel, self.compute_dtype))
        if self.use_bias:
            y = y + ops.cast(self.bias, self.compute_dtype)
        return y if self.activation is None else self.activation(y)
