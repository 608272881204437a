"""Values and labels out of range, found inside the training step, where no error can be raised.

The step reads a number that is allowed in place of each that is not, counts the examples, and gives −∞ as its
loss, which nothing else does: no weight moves by it. A callback sees that loss, and training stops.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.condition_kind import ConditionKind

REFUSED = -np.inf
"""The loss of a batch that holds what is out of range."""


def within(numbers: Any, count: int | None) -> Any:
    """Where integers lie in [0, count), or floats are finite: bool of the same shape."""
    kind = keras.backend.standardize_dtype(numbers.dtype)
    if kind == "bool":
        return ops.ones_like(numbers)
    if count is None:
        return ops.isfinite(numbers) if "float" in kind else ops.ones_like(numbers, dtype="bool")
    top = min(count - 1, int(np.iinfo(kind).max))
    return (numbers >= 0) & (numbers <= top)


def bounded(numbers: Any, count: int | None) -> Any:
    """The numbers, and 0 in place of those that are not `within`."""
    return ops.where(within(numbers, count), numbers, ops.zeros_like(numbers))


def has_refused(numbers: Any, count: int | None) -> Any:
    """Which examples hold a number that is not `within`: (B, …) → (B,) bool."""
    inside = within(numbers, count)
    return ops.logical_not(ops.all(inside, axis=tuple(range(1, len(inside.shape)))))


class RefusedExamples(keras.metrics.Metric):
    """Counts the examples with values, and with a condition, out of range; among the results it is silent."""

    def __init__(self, name: str = "refused", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.counts = self.add_variable(shape=(2,), initializer="zeros", aggregation="sum", name="counts")

    def update_state(self, added: Any) -> None:
        """Adds how many examples have values, and how many a condition, out of range: (2,)."""
        self.counts.assign_add(ops.cast(added, self.counts.dtype))

    def result(self) -> dict[str, Any]:
        return {}


def explain(counts: Any, expected_values: str, condition: ConditionKind | None) -> str:
    """Why a batch was refused, in one sentence."""
    values, conditions = (int(count) for count in counts)
    examples = f"{values or conditions} example{'s' if (values or conditions) != 1 else ''}"
    if values or condition is None:
        return f"values of {examples} lie outside; {expected_values}."
    if condition.num_levels is not None:
        name = "Labels" if condition.is_label else "Tokens of the source"
        return f"{name} of {examples} lie outside; {condition.range}."
    return f"The condition of {examples} holds NaN or infinity; {condition.range}."


class Refused(Exception):
    """Raised out of Keras's loop, for the model to say why."""


class StopRefused(keras.callbacks.Callback):
    """Stops Keras's loop after a batch that was refused, without waiting for the device."""

    async_safe = True  # Keras then looks at the results in a thread of its own

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if logs and logs.get("loss") == REFUSED:
            raise Refused

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        self.on_train_batch_end(batch, logs)
