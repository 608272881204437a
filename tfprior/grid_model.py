"""What every model of integer grids shares: how it is fed, and what is checked before any work is done."""

import abc
import hashlib
import math
from contextlib import nullcontext
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfprior.inputs import GridShape, as_array

Tensor = Any


class GridModel(keras.Model, abc.ABC):
    """A Keras model that learns integer grids (H, W, C) by `fit(values)`, without targets and without a loss.

    Attributes:
        grid_shape: (H, W, C).
        num_classes: of the labels that are its condition; None without such.
        noun: what errors call the model.
    """

    grid_shape: GridShape
    num_classes: int | None = None
    noun: ClassVar[str] = "model"

    @property
    def num_levels(self) -> int:
        """Values are integers in [0, num_levels)."""
        return int(self.distribution.num_levels)

    @property
    def num_dims(self) -> int:
        return math.prod(self.grid_shape)

    def weights_digest(self) -> str:
        """SHA-256 of the weights: the same for the same weights, wherever they are."""
        sha = hashlib.sha256()
        for weight in self.get_weights():
            sha.update(np.ascontiguousarray(weight).tobytes())
        return sha.hexdigest()

    @abc.abstractmethod
    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        """Raises ValueError for values or a condition of the wrong shape, type or range."""

    @property
    def needs_initialization(self) -> bool:
        """Whether `fit` is to call `initialize` first."""
        return False

    def initialize(self, inputs: Any) -> None:
        """Sets weights that depend on data from a batch (values, or a dict); most models have none."""

    @staticmethod
    def unpack(inputs: Any) -> tuple[Tensor, Tensor | None]:
        """(values, condition) of a batch: the values alone, or a dict of both."""
        if not isinstance(inputs, dict):
            return inputs, None
        unknown = sorted(set(inputs) - {"values", "condition"})
        if "values" not in inputs or unknown:
            raise ValueError(f"Got a batch with keys {sorted(inputs)}; expected 'values' and 'condition'.")
        return inputs["values"], inputs.get("condition")

    def checked_batch(self, inputs: Any) -> Any:
        """A batch as tensors, values or a dict of values and condition, for `initialize`.

        Raises:
            ValueError: for no batch, an empty one, or one of the wrong shape, type or range.
        """
        parts = dict(zip(("values", "condition"), self.unpack(inputs), strict=True))
        parts = {name: as_array(part) for name, part in parts.items() if part is not None}
        if not getattr(parts["values"], "shape", ()):  # NumPy makes an array without axes of anything
            raise ValueError(
                f"Got {type(inputs).__name__} as a batch; expected values (B, H, W, C), or a dict "
                "of 'values' and 'condition': of a dataset, pass next(iter(dataset))."
            )
        if not len(parts["values"]):
            raise ValueError("Got an empty batch; expected at least one example.")
        self.check_inputs(**parts)
        return parts if "condition" in parts else parts["values"]

    def fit(self, x: Any = None, y: Any = None, *, validation_data: Any = None, **kwargs: Any) -> Any:
        """Keras `fit` on values, a dict of values and condition, or a dataset of either.

        A dataset is read from its start more than once: first for its first batch, then to train.

        Raises:
            ValueError: for inputs of the wrong shape, type or range, before any training.
        """
        x, first = self._checked_data(x, y)
        if isinstance(validation_data, tuple | list):
            given, targets, weights = (*validation_data, None, None)[:3]
            # Keras drops sample weights that come without targets: they stand in for them.
            validation_data = (self._checked_data(given, targets)[0], weights, weights)
        elif validation_data is not None:
            validation_data, _ = self._checked_data(validation_data, None)
        if hasattr(x, "element_spec"):
            kwargs.setdefault("shuffle", False)  # a dataset brings its own order; Keras warns otherwise
        if self.compiled and self.needs_initialization:
            self.initialize(self._first_batch(x, kwargs.get("batch_size") or 32) if first is None else first)
        if self.compiled:
            self._build_optimizer()
        return super().fit(x, kwargs.get("sample_weight"), validation_data=validation_data, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, **kwargs: Any) -> Any:
        """Keras `evaluate` over all examples, on what `fit` takes.

        Raises:
            ValueError: for inputs of the wrong shape, type or range.
        """
        x, _ = self._checked_data(x, y)
        return super().evaluate(x, kwargs.get("sample_weight"), **kwargs)

    def _build_optimizer(self) -> None:
        """Makes the optimizer's variables: made in the first step, they would have it traced twice."""
        if self.optimizer is None:
            raise ValueError('Compiled with optimizer=None; fit needs one: compile(optimizer="adam").')
        if self.optimizer.built:
            return
        strategy = getattr(self, "distribute_strategy", None)
        with strategy.scope() if strategy else nullcontext():
            self.optimizer.build(self.trainable_variables)

    def _checked_data(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The data as Keras takes them, and the first batch of a dataset; or ValueError."""
        first = None
        if y is not None:
            raise ValueError(
                f"Got targets y; a {self.noun} learns the values themselves: pass fit(values), or "
                'fit({"values": values, "condition": condition}).'
            )
        if hasattr(x, "element_spec"):  # tf.data
            self._check_specification(x.element_spec)
            first = next(iter(x), None)  # most mistakes are in every batch
            if first is None:
                raise ValueError("Got an empty dataset; expected at least one example.")
            first = first[0] if isinstance(first, tuple) else first
            self.check_inputs(*self.unpack(first))
        elif isinstance(x, dict) or hasattr(x, "shape"):
            if isinstance(x, dict):
                x = {name: as_array(part) for name, part in x.items() if part is not None}
            values, condition = self.unpack(x)
            if len(values) == 0:
                raise ValueError("Got an empty dataset; expected at least one example.")
            self.check_inputs(values, condition)
        elif x is None or isinstance(x, list | tuple):
            raise ValueError(
                f"Got {type(x).__name__} as training data; expected an integer array, a dict of 'values' and "
                "'condition', or a dataset of either: pass np.asarray(values)."
            )
        return x, first

    def _check_specification(self, specification: Any) -> None:
        if isinstance(specification, tuple):
            if len(specification) != 1:
                raise ValueError(
                    f"Got a dataset of {len(specification)}-tuples; expected values, or a dict of 'values' "
                    "and 'condition'."
                )
            (specification,) = specification
        values, condition = self.unpack(specification)
        if values.shape.rank is not None:
            self.check_inputs(values, condition)

    @staticmethod
    def mean_of(nats: Tensor, sample_weight: Tensor | None) -> Tensor:
        """The mean over examples (B,), each times its weight."""
        if sample_weight is not None:
            nats = nats * ops.cast(sample_weight, nats.dtype)
        return ops.mean(nats)

    def _first_batch(self, x: Any, batch_size: int) -> Any:
        """As many examples, evenly spread over arrays; of an indexed data set its first batch."""
        if isinstance(x, keras.utils.PyDataset):
            first = x[0]
            return first[0] if isinstance(first, tuple) else first
        if isinstance(x, dict) or hasattr(x, "shape"):
            count = len(self.unpack(x)[0])
            chosen = np.arange(min(batch_size, count)) * count // min(batch_size, count)
            return keras.tree.map_structure(lambda part: ops.convert_to_numpy(part)[chosen], x)
        raise ValueError(
            f"Got {type(x).__name__} as training data, and the first weights of {type(self).__name__} depend "
            "on data; call initialize(batch) before fit."
        )
