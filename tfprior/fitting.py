"""Keras's loops over checked data: `fit`, `evaluate` and `predict` of integer grids.

checked: arrays in full, ─── Keras's loop ─── step: out of range replaced ─── compute_loss: then −∞
sources by first batch            └───────── StopRefused sees −∞ ◀───────────────────┘
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import GeneratorType
from typing import Any, ClassVar, Protocol, runtime_checkable

import keras
import numpy as np
from keras import ops

from tfprior.feeding import Batch, HeldBatches, are_arrays, checked, spread
from tfprior.inputs import expected_levels
from tfprior.own_loss import OwnLossModel
from tfprior.range_checks import Refused, RefusedExamples, StopRefused, explain
from tfprior.resumable_dataset import ResumableDataset
from tfprior.score import Score

DEFAULTS = {
    "initial_epoch": 0,
    "steps_per_epoch": None,
    "validation_steps": None,
    "validation_batch_size": None,
    "validation_freq": 1,
}
"""Of the arguments of Keras's `fit` that ours hands on."""


@runtime_checkable
class AroundFit(Protocol):
    """A callback that decides what Keras's `fit` gets, and ends after it, however it ends."""

    def around_fit(self, model: Any, arguments: dict[str, Any]) -> AbstractContextManager[dict[str, Any]]: ...


class FittedModel(OwnLossModel):
    """The half of a `GridModel` that Keras's loops run."""

    distribution: Any
    kind: ClassVar[str]
    scores: tuple[Score, ...]
    _refused: RefusedExamples

    @property
    def reported(self) -> str:
        return ", ".join(score.name for score in self.scores)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool | None = None,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Keras `fit` on values, with labels in y or in a dict, or on a dataset (see `tfprior.feeding`).

        A dataset is read from its start more than once: first for its first batch, then to train.

        Raises:
            ValueError: for inputs of the wrong shape or type before any training, and of the wrong range as
                soon as they come.
        """
        self._check_strategy()
        data = x if isinstance(x, ResumableDataset) else None
        x, y, first = checked(self, data.starting_at(0) if data else x, y, sample_weight, class_weight)
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, tuple | list) else (validation_data,)
            val_x, val_y, val_weight = (*parts, None, None)[:3]
            validation_data = checked(self, val_x, val_y, val_weight)[0]
            if isinstance(validation_data, GeneratorType) and kwargs.get("validation_steps") is None:
                validation_data = HeldBatches(validation_data)  # every epoch reads all of them
        if shuffle is None:  # a dataset or a generator brings its own order; Keras warns otherwise
            shuffle = are_arrays(x) or isinstance(x, keras.utils.PyDataset)
        if self.compiled:
            if self.needs_initialization:
                self._initialize_from(x, first, batch_size or 32)
            self._build_optimizer()
        callbacks = self._with_ours(callbacks)
        arguments = {
            "x": data or x,
            "y": y,
            "batch_size": batch_size,
            "epochs": epochs,
            "verbose": verbose,
            "callbacks": callbacks,
            "validation_split": validation_split,
            "validation_data": validation_data,
            "shuffle": shuffle,
            "class_weight": class_weight,
            **DEFAULTS,
            **kwargs,
        }
        with ExitStack() as stack:
            for callback in getattr(callbacks, "callbacks", callbacks) if self.compiled else ():
                if isinstance(callback, AroundFit):
                    arguments = stack.enter_context(callback.around_fit(self, arguments))
            data = arguments["x"]
            if isinstance(data, ResumableDataset):
                arguments |= {"x": data.starting_at(0), "steps_per_epoch": data.steps_per_epoch}
            if self.compiled and self._replicas() > 1 and isinstance(data, ResumableDataset):
                from tfprior.replicas import strategy

                arguments["x"] = strategy.shared(self.distribute_strategy, arguments["x"])
            if self.compiled:
                self._set_replicas()
            stack.enter_context(self._explained())
            return super().fit(**arguments)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Keras `evaluate` over all examples, on what `fit` takes.

        Raises:
            ValueError: for inputs of the wrong shape, type or range.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # `fit` evaluates what it has checked
            self._check_strategy()
            x, y, _ = checked(self, x, y, sample_weight)
        with self._explained():
            return super().evaluate(
                x,
                y,
                batch_size=batch_size,
                verbose=verbose,
                steps=steps,
                callbacks=self._with_ours(callbacks),
                **kwargs,
            )

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The parameters of every pixel's distribution, in NumPy: (N, H, W, P), of what `fit` takes.

        Raises:
            ValueError: for inputs of the wrong shape, type or range.
        """
        self._check_strategy()
        x, _, _ = checked(self, x)
        return self._none_refused(super().predict(x, *args, **kwargs))

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: dict[int, float] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Keras `train_on_batch`, on what `fit` takes as arrays; ValueError as in `fit`."""
        x, y, _ = checked(self, x, y, sample_weight, class_weight, arrays_only=True)
        if self.compiled:
            self._build_optimizer()
        return super().train_on_batch(x, y, class_weight=class_weight, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, **kwargs: Any) -> Any:
        """Keras `test_on_batch`, on what `fit` takes as arrays; ValueError as in `fit`."""
        x, y, _ = checked(self, x, y, sample_weight, arrays_only=True)
        return super().test_on_batch(x, y, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """What `predict` gives for one batch; ValueError as in `fit`."""
        return super().predict_on_batch(checked(self, x, arrays_only=True)[0])

    def whole_batch(self, source: Any, first: Any) -> Any:
        """The first batch of a source as all replicas have it together."""
        if self._replicas() == 1 or not hasattr(source, "element_spec"):
            return first
        from tfprior.replicas import strategy

        return strategy.first_of_all(self.distribute_strategy, source)

    def _initialize_from(self, x: Any, first: Batch | None, batch_size: int) -> None:
        if first is None:
            raise ValueError(
                f"Got {type(x).__name__} as training data, and the first weights of {type(self).__name__} "
                "depend on data; call initialize(batch) before fit."
            )
        self.initialize((spread(first, batch_size) if are_arrays(x) else first).inputs)

    # What is said when a step refused a batch

    @property
    def expected_values(self) -> str:
        """What values are to be, in words."""
        return expected_levels(self.distribution.num_levels)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Refused:
            if hasattr(self, "jax_state_sync"):
                self.jax_state_sync()  # the weights were with the loop
            counts = ops.convert_to_numpy(ops.convert_to_tensor(self._refused.counts))
            raise ValueError(explain(counts, self.expected_values, self.condition_kind)) from None

    def _none_refused(self, params: np.ndarray) -> np.ndarray:
        count = int(np.isposinf(params).all(tuple(range(1, params.ndim))).sum())
        if count:
            raise ValueError(
                f"{count} examples hold values outside [0, {self.distribution.num_levels - 1}], or a "
                "condition out of range; nothing is predicted from them."
            )
        return params

    def _with_ours(self, callbacks: Any) -> Any:
        """Keras's callbacks, those that monitor a score told its direction, and `StopRefused`."""
        # `fit` hands a list of its own, which has ours, to `evaluate`.
        own = callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else None
        theirs = keras.tree.flatten(callbacks or []) if own is None else own.callbacks
        better = {score.name: score.better for score in self.scores}
        for callback in theirs:
            score = str(getattr(callback, "monitor", None)).removeprefix("val_")
            if getattr(callback, "mode", None) == "auto" and score in better:
                callback.mode = better[score]  # Keras asks no metric but those of `compile`
        if own is None:
            return [StopRefused(), *theirs]
        if not any(isinstance(callback, StopRefused) for callback in theirs):
            stop = StopRefused()
            stop.set_model(self)
            own.callbacks.append(stop)
        return own
