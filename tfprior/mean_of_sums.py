"""A mean that is told sums, as those of a batch that several replicas share."""

from typing import Any

import keras
from keras import ops


class MeanOfSums(keras.metrics.Metric):
    """Sum of numbers over sum of weights, since the last reset; 0 without any weight."""

    def __init__(self, name: str = "mean", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.sums = self.add_variable(shape=(2,), initializer="zeros", aggregation="sum", name="sums")

    def update_state(self, sums: Any) -> None:
        """Adds a sum of weighted numbers, and the sum of their weights: (2,)."""
        self.sums.assign_add(ops.cast(sums, self.sums.dtype))

    def result(self) -> Any:
        numbers, weight = ops.unstack(ops.convert_to_tensor(self.sums), 2)
        return ops.divide_no_nan(numbers, weight)
