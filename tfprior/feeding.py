"""What `fit` is fed with, and what it becomes: batches of values, condition and weights.

    images · (images, labels) · (images, labels, weights)
    {"values": images, "condition": labels, "sample_weight": weights}, the last two where there are any

each as arrays, or as what a `tf.data.Dataset`, a `keras.utils.PyDataset` or a Python generator gives.
"""

import itertools
import types
from collections.abc import Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from tfprior.inputs import as_array

PARTS = ("values", "condition", "sample_weight")
SOURCES = "an integer array, a dict of 'values' and 'condition', or a dataset of either"


class Batch(NamedTuple):
    """The parts of a batch, or of all data in arrays."""

    values: Any
    condition: Any = None
    sample_weight: Any = None

    @property
    def inputs(self) -> Any:
        """What a model is called with: the values alone, or a dict of both."""
        return self.values if self.condition is None else {"values": self.values, "condition": self.condition}

    @property
    def named(self) -> Any:
        """All parts, as data that `batch_of` reads again."""
        parts = {name: part for name, part in self._asdict().items() if part is not None}
        return self.values if len(parts) == 1 else parts


def batch_of(x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
    """The batch that Keras hands on as x, y and sample weights; labels in y are the condition.

    Raises:
        ValueError: for unknown names, and parts that come twice.
    """
    parts = dict(x) if isinstance(x, dict) else {"values": x}
    unknown = sorted(set(parts) - set(PARTS))
    if parts.get("values") is None or unknown:
        raise ValueError(
            f"Got a batch with keys {sorted(parts)}; expected 'values' and 'condition', and where examples "
            "have weights 'sample_weight'."
        )
    for name, part in (("condition", y), ("sample_weight", sample_weight)):
        if part is not None and parts.get(name) is not None:
            raise ValueError(f"Got a {name} in the dict and beside it; expected it once.")
        parts[name] = part if part is not None else parts.get(name)
    return Batch(**parts)


def arrays_of(x: Any, y: Any = None, sample_weight: Any = None) -> Batch:
    """The batch of all data, lists of labels and of weights as arrays.

    Raises:
        ValueError: for values that are no array, and for no examples.
    """
    batch = Batch(*map(as_array, batch_of(x, y, sample_weight)))
    if not batch.values.shape:
        raise ValueError(f"Got {type(x).__name__} as data; expected {SOURCES}: pass np.asarray(values).")
    if len(batch.values) == 0:
        raise ValueError("Got an empty dataset; expected at least one example.")
    return batch


def are_arrays(x: Any) -> bool:
    """Whether x is an array or a tensor, or a dict of such."""
    return isinstance(x, dict) or (hasattr(x, "shape") and not hasattr(x, "element_spec"))


def specification_of(dataset: Any) -> Batch:
    """What every batch of a `tf.data.Dataset` is.

    Raises:
        ValueError: for elements that are no batch.
    """
    element = keras.tree.map_structure(_of_a_replica, dataset.element_spec)
    if isinstance(element, tuple) and len(element) > 3:
        raise ValueError(
            f"Got a dataset of {len(element)}-tuples; expected values, (values, labels) or a dict of "
            "'values' and 'condition'."
        )
    return batch_of(*keras.utils.unpack_x_y_sample_weight(element))


def _of_a_replica(part: Any) -> Any:
    """The specification of what one replica has, where a dataset is distributed."""
    return getattr(part, "_value_specs", [part])[0]


def first_of(source: Any) -> tuple[Any, Any]:
    """The source, and its first batch as it comes; None where only training tells.

    A generator gives its first batch but once: what is returned in its place gives it again.

    Raises:
        ValueError: for a source without any batch.
    """
    first = None
    if hasattr(source, "element_spec"):
        first = next(iter(source), None)
    elif isinstance(source, keras.utils.PyDataset):
        first = source[0]
    elif isinstance(source, types.GeneratorType):
        first = next(source, None)
        source = _again(first, source)
    else:
        return source, None
    if first is None:
        raise ValueError("Got an empty dataset; expected at least one example.")
    return source, first


def _again(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    for batch in itertools.chain([first], others):
        yield batch if isinstance(batch, tuple) else (batch,)  # Keras takes no other


class HeldBatches(keras.utils.PyDataset):
    """The batches of a generator, which could be read but once, for as many rounds as are wanted."""

    def __init__(self, batches: Iterator[Any]) -> None:
        super().__init__()
        self.batches = list(batches)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def spread(batch: Batch, count: int) -> Batch:
    """So many examples, evenly spread over all; or all of them."""
    total = len(batch.values)
    chosen = np.arange(min(count, total)) * total // min(count, total)
    return Batch(*(None if part is None else ops.convert_to_numpy(part)[chosen] for part in batch))


def checked(
    model: Any,
    x: Any,
    y: Any = None,
    sample_weight: Any = None,
    class_weight: Any = None,
    arrays_only: bool = False,
) -> tuple[Any, Any, Batch | None]:
    """x and y as Keras is to have them, and all arrays or the first batch of a source; or ValueError."""
    if y is not None and not model.is_conditional:
        raise ValueError(
            f"Got targets y; a {model.kind} learns the values themselves: pass fit(values), or "
            'fit({"values": values, "condition": condition}).'
        )
    if class_weight is not None and (model.num_classes is None or sample_weight is not None):
        raise ValueError(
            "Got a class_weight; it weighs the labels of a model with num_classes= that has no "
            "sample_weight: pass the weight of every example as sample_weight."
        )
    if x is None or isinstance(x, list | tuple) or (arrays_only and not are_arrays(x)):
        raise ValueError(
            f"Got {type(x).__name__} as training data; expected {SOURCES}: pass np.asarray(values)."
        )
    if are_arrays(x):
        batch = arrays_of(x, y, sample_weight)
        model.check_batch(batch)
        return (batch.named, None, batch) if class_weight is None else (*batch[:2], batch)
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"Got {type(x).__name__} with labels or weights beside it; expected them in its batches, "
            "(values, labels) or a dict of 'values', 'condition' and 'sample_weight'."
        )
    if hasattr(x, "element_spec"):
        check_specification(model, x)
    x, first = first_of(x)
    if class_weight is not None and not isinstance(first, tuple):
        raise ValueError("Got a class_weight for batches without labels y; expected (values, labels).")
    if first is None:
        return x, None, None
    first = batch_of(*keras.utils.unpack_x_y_sample_weight(model.whole_batch(x, first)))
    model.check_batch(first)
    return x, None, first


def check_specification(model: Any, dataset: Any) -> None:
    """Raises ValueError for a `tf.data.Dataset` whose elements are no batches of the model."""
    specification, element = specification_of(dataset), dataset.element_spec
    if isinstance(element, tuple) and len(element) > 1 and not model.is_conditional:
        raise ValueError(
            f"Got a dataset of {len(element)}-tuples; expected values, or a dict of 'values' and "
            f"'sample_weight': this {model.kind} learns the images alone, "
            "dataset.map(lambda images, labels: images)."
        )
    model.check_batch(specification)
