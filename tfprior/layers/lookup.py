"""Looking rows up in a table of weights."""

from typing import Any

from keras import ops


def rows_of(table: Any, index: Any) -> Any:
    """Rows of a table (K, D) at `index` (…): (…, D), with a gradient that holds each row of the table once.

    TensorFlow's own names a row as often as it was looked up, and Keras's optimizers clip and square what it
    names one by one: another step than the one of the gradient.
    """
    dense = ops.reshape(table, table.shape)  # whose gradient adds up what belongs to one row
    return ops.take(dense, index, axis=0)
