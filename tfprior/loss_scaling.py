"""Steps that loss scaling refuses, under mixed_float16: their gradients overflow, and nothing is to move.

Keras keeps the optimizer from moving weights, and lowers the scale; a codebook has followed the batch by
then, and is put back here.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
from keras import ops


@contextmanager
def put_back_where_refused(optimizer: Any, weights: list[Any]) -> Iterator[None]:
    """Gives `weights` their values of before, where the optimizer refuses the step that is made within."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        yield
        return
    scale, *before = (ops.copy(weight) for weight in (optimizer.dynamic_scale, *weights))
    yield
    refused = ops.convert_to_tensor(optimizer.dynamic_scale) < scale
    for weight, value in zip(weights, before, strict=True):
        weight.assign(ops.where(refused, value, weight))


def state_put_back(optimizer: Any, before: Any, after: Any) -> Any:
    """The state after a step on JAX; where it is refused, what is not trained is as it was `before`."""
    if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return after
    index = [variable is optimizer.dynamic_scale for variable in optimizer.variables].index(True)
    trained, others, of_optimizer, *metrics = after
    refused = of_optimizer[index] < before[2][index]
    others = [ops.where(refused, old, new) for old, new in zip(before[1], others, strict=True)]
    return (trained, others, of_optimizer, *metrics)
