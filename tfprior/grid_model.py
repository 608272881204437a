"""What every model of integer grids shares: what it takes, and how Keras feeds it.

What goes in is checked once on every route: arrays before any work is done, the first batch of a dataset
too, type and shape of every call, and the range of every batch inside the step (`tfprior.range_checks`).
"""

import abc
import hashlib
import math
from typing import Any, ClassVar

import numpy as np
from keras import ops

from tfprior.condition_kind import ConditionKind
from tfprior.feeding import Batch, batch_of
from tfprior.fitting import FittedModel
from tfprior.inputs import GridShape, as_array, check_sample_weight
from tfprior.range_checks import REFUSED, RefusedExamples, has_refused
from tfprior.score import BITS_PER_DIM, Score

Tensor = Any


class GridModel(FittedModel, abc.ABC):
    """A Keras model that learns integer grids (H, W, C) by `fit(values)`, without targets and without a loss.

    Attributes:
        grid_shape: (H, W, C).
        distribution: of a pixel; its `num_levels` bounds the values.
        num_classes: of the labels that are its condition; None without such.
        condition_shape: of another condition, without its batch axis; None without such.
        condition_kind: what its condition is, whichever it is; None without one.
        kind: "prior", "tokenizer", "encoder", "classifier", or "model" of what is none of them; errors call
            it so too.
        scores: that it reports; the first one tells how good it is. Runs and Keras's callbacks with
            mode="auto" know from them which way is better.
        loss_unit: what the loss is in.
        tokenizer: None, for its grids are what it is shown; a `Generator` has one between.
    """

    grid_shape: GridShape
    distribution: Any
    num_classes: int | None = None
    condition_shape: tuple[int, ...] | None = None
    condition_kind: ConditionKind | None = None
    kind: ClassVar[str] = "model"
    scores: tuple[Score, ...] = (BITS_PER_DIM,)
    loss_unit: ClassVar[str] = "nats/dim"
    tokenizer: ClassVar[None] = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._refused = RefusedExamples()

    @property
    def num_levels(self) -> int:
        """Values are integers in [0, num_levels)."""
        return int(self.distribution.num_levels)

    @property
    def num_dims(self) -> int:
        return math.prod(self.grid_shape)

    @property
    def is_conditional(self) -> bool:
        return self.condition_kind is not None

    def weights_digest(self) -> str:
        """SHA-256 of the weights: the same for the same weights, wherever they are."""
        sha = hashlib.sha256()
        for weight in self.get_weights():
            sha.update(np.ascontiguousarray(weight).tobytes())
        return sha.hexdigest()

    @abc.abstractmethod
    def check_inputs(self, values: Tensor, condition: Tensor | None = None) -> None:
        """Raises ValueError for values or a condition of the wrong shape, type or range.

        The range is that of arrays and of tensors outside a graph: inside one it is not known yet.
        """

    @property
    def needs_initialization(self) -> bool:
        """Whether `fit` is to call `initialize` first."""
        return False

    def initialize(self, inputs: Any) -> None:
        """Sets weights that depend on data from a batch (values, or a dict); most models have none."""

    @staticmethod
    def unpack(inputs: Any) -> tuple[Tensor, Tensor | None]:
        """(values, condition) of what a model is called with: the values alone, or a dict of both."""
        batch = batch_of(inputs)
        return batch.values, batch.condition

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """What `call` makes of values (B, H, W, C), or of a dict of values and condition.

        Raises:
            ValueError: for inputs of the wrong shape or type, and outside a graph of the wrong range.
        """
        if isinstance(inputs, tuple):
            raise ValueError(
                f"Got a tuple to call a {self.kind} with; expected values, or a dict of 'values' and "
                "'condition'."
            )
        batch = Batch(*map(as_array, batch_of(inputs)))
        self.check_inputs(batch.values, batch.condition)
        if batch.values.shape[0] == 0:
            raise ValueError("Got an empty batch; expected at least one example.")
        return super().__call__(batch.inputs, *args, **kwargs)

    def checked_batch(self, inputs: Any) -> Any:
        """A batch as tensors, values or a dict of values and condition, for `initialize`.

        Raises:
            ValueError: for no batch, an empty one, or one of the wrong shape, type or range.
        """
        batch = Batch(*map(as_array, batch_of(inputs)))
        if not getattr(batch.values, "shape", ()):  # NumPy makes an array without axes of anything
            raise ValueError(
                f"Got {type(inputs).__name__} as a batch; expected values (B, H, W, C), or a dict "
                "of 'values' and 'condition': of a dataset, pass next(iter(dataset))."
            )
        if not len(batch.values):
            raise ValueError("Got an empty batch; expected at least one example.")
        self.check_inputs(batch.values, batch.condition)
        return batch.inputs

    @staticmethod
    def params_of(outputs: Any) -> Tensor:
        """The parameters (B, H, W, P) among what `call` gives."""
        return outputs

    def guarded(self, loss: Tensor, inputs: Any) -> Tensor:
        """The loss of a batch, or −∞ for one with values or a condition out of range."""
        values, conditions = self.refusals(inputs)
        return ops.where(ops.any(values) | ops.any(conditions), ops.full_like(loss, REFUSED), loss)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        """What is known of a batch beside its loss, in sums over its examples: for `track` and `follow`.

        Arguments are those of `compute_loss`. With several replicas the sums are added up over them.
        """
        values, conditions = self.refusals(x if y is None else y)
        return {"refused": ops.stack([ops.sum(ops.cast(part, "float32")) for part in (values, conditions)])}

    def track(self, statistics: dict[str, Any]) -> None:
        """Adds the statistics of a batch to the metrics."""
        self._refused.update_state(statistics["refused"])

    def follow(self, statistics: dict[str, Any]) -> None:
        """Moves what follows the statistics of training batches; most models have nothing such."""

    def noise_of_batch(self) -> list[Any]:
        """Seed generators of what is drawn for the batch as a whole, the same on every replica."""
        return []

    @staticmethod
    def mean_of(nats: Tensor, sample_weight: Tensor | None) -> Tensor:
        """The mean over examples (B,), each times its weight."""
        if sample_weight is not None:
            nats = nats * ops.cast(sample_weight, nats.dtype)
        return ops.mean(nats)

    @staticmethod
    def sums_of(numbers: Tensor, sample_weight: Tensor | None) -> Tensor:
        """The sum over examples (B,), each times its weight, and the sum of the weights: (2,)."""
        weight = ops.ones_like(numbers) if sample_weight is None else ops.cast(sample_weight, numbers.dtype)
        return ops.stack([ops.sum(numbers * weight), ops.sum(weight)])

    def refusals(self, inputs: Any) -> tuple[Tensor, Tensor]:
        """Which examples have values, and which a condition, out of range: (B,) bool each."""
        values, condition = self.unpack(inputs)
        refused = has_refused(values, self.distribution.num_levels)
        return refused, ops.zeros_like(refused) if condition is None else has_refused(
            condition, self.condition_levels
        )

    def check_batch(self, batch: Batch) -> None:
        """Raises ValueError for parts of the wrong shape, type or range."""
        self.check_inputs(batch.values, batch.condition)
        if batch.sample_weight is not None:
            check_sample_weight(batch.sample_weight, batch.values.shape[0])
