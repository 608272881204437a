"""The steps of training, evaluation and prediction, on every backend and any number of replicas.

Several replicas run those of `tfprior.replicas`, one device Keras's own.
"""

import weakref
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from tfprior.condition_kind import ConditionKind
from tfprior.feeding import Batch, batch_of
from tfprior.loss_scaling import put_back_where_refused, state_put_back
from tfprior.once_a_step import one_step
from tfprior.range_checks import bounded


class SteppedModel(keras.Model):
    """The half of a `GridModel` that Keras's steps run; they call what the other half has."""

    distribution: Any
    condition_kind: ConditionKind | None
    kind: ClassVar[str]
    train_function: Any
    test_function: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._compiles_inside = False
        self._epoch_iterator: Any = None

    def compile(self, optimizer: Any = "rmsprop", **kwargs: Any) -> None:
        if self._replicas() > 1:  # XLA knows of no sums over replicas: it compiles what is between them
            self._compiles_inside = kwargs.get("jit_compile") is True
            kwargs["jit_compile"] = False
        super().compile(optimizer, **kwargs)

    # The data come last, on JAX after the state

    def train_step(self, *state_and_data: Any) -> Any:
        *state, data = state_and_data
        if steps := self._exact_steps():
            return self.tracked(steps.train(self, data))
        if state:  # on JAX
            with one_step():
                logs, after = super().train_step(*state, self._step_data(data))
            return logs, state_put_back(self.optimizer, state[0], after)
        with one_step(), put_back_where_refused(self.optimizer, self.weights):
            return super().train_step(self._step_data(data))

    def test_step(self, *state_and_data: Any) -> Any:
        *state, data = state_and_data
        if steps := self._exact_steps():
            return self.tracked(steps.evaluate(self, data))
        with one_step():
            return super().test_step(*state, self._step_data(data))

    def _compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The loss, and in Keras's own steps, which know of gradients alone, the move of the codebooks."""
        loss = super()._compute_loss(x, y, y_pred, sample_weight, training)
        if training and not self._exact_steps():
            self.follow(self.statistics(x, y, y_pred, sample_weight, training))
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        self.track(self.statistics(x, y, y_pred, sample_weight, training=False))
        return self.get_metrics_result()

    def tracked(self, sums: Any) -> dict[str, Any]:
        """The results so far, those of a step of the global batch among them."""
        self._loss_tracker.update_state(sums.loss, sample_weight=sums.count)
        self.track(sums.statistics)
        return self.get_metrics_result()

    def _exact_steps(self) -> Any:
        """The steps of several replicas; None for one device, which runs Keras's own."""
        if self._replicas() == 1:
            return None
        from tfprior.replicas import exact_step

        return exact_step

    @property
    def adds_up_inside(self) -> bool:
        """Whether replicas ask of the whole batch while they compute, as for a mean over it in the loss."""
        return False

    @property
    def compiles_inside(self) -> bool:
        """Whether XLA compiles what each replica does alone: it knows of no sums over replicas."""
        return self._compiles_inside and not self.adds_up_inside

    def make_train_function(self, force: bool = False) -> Any:
        if self._replicas() == 1:
            return super().make_train_function(force)
        if self.train_function is None or force:
            from tfprior.replicas import exact_step, keras_hooks

            keras_hooks.update_locally(self.optimizer)
            self.train_function = keras_hooks.steps_of(self, exact_step.train)
        return self.train_function

    def make_test_function(self, force: bool = False) -> Any:
        if self._replicas() == 1:
            return super().make_test_function(force)
        if self.test_function is None or force:
            from tfprior.replicas import exact_step, keras_hooks

            self.test_function = keras_hooks.steps_of(self, exact_step.evaluate)
        return self.test_function

    def predict_step(self, *state_and_data: Any) -> Any:
        *state, data = state_and_data
        if steps := self._exact_steps():
            return steps.predict(self, data)
        inputs, as_they_came, _ = self._step_data(data)
        outputs, *more = super().predict_step(*state, inputs) if state else (super().predict_step(inputs),)
        params = self.predictions(outputs, as_they_came)
        return (params, *more) if state else params

    def predictions(self, outputs: Any, inputs: Any) -> Any:
        """What `predict` gives: parameters, infinite where an example holds what is out of range."""
        refused = ops.reshape(ops.logical_or(*self.refusals(inputs)), (-1, 1, 1, 1))
        return ops.where(refused, np.inf, self.params_of(outputs))

    def step_batch(self, data: Any) -> Batch:
        """The batch that Keras hands to a step, its shapes and types checked."""
        batch = batch_of(*keras.utils.unpack_x_y_sample_weight(data))
        self.check_batch(batch)
        return batch

    @property
    def condition_levels(self) -> int | None:
        """Conditions are integers in [0, condition_levels); None of floats, and without a condition."""
        return None if self.condition_kind is None else self.condition_kind.num_levels

    def bounded_inputs(self, batch: Batch) -> Any:
        """What the model is called with: inputs with 0 in place of what is out of range."""
        values = bounded(batch.values, self.distribution.num_levels)
        condition = None if batch.condition is None else bounded(batch.condition, self.condition_levels)
        return Batch(values, condition).inputs

    def _step_data(self, data: Any) -> tuple[Any, Any, Any]:
        """What Keras's step takes: inputs without what is out of range, the inputs themselves, weights."""
        batch = self.step_batch(data)
        return self.bounded_inputs(batch), batch.inputs, batch.sample_weight

    @property
    def is_one_of_workers(self) -> bool:
        """Whether several processes train the model."""
        if self._replicas() == 1:
            return False
        from tfprior.replicas import strategy

        return strategy.has_workers(self.distribute_strategy)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that reads and writes for all."""
        if self._replicas() == 1:
            return True
        from tfprior.replicas import strategy

        return strategy.is_chief(self.distribute_strategy)

    def held(self, variable: Any) -> np.ndarray:
        """What the first replica of this process has of a variable, without a word to the others."""
        value = variable.value
        if self._replicas() > 1:
            value = self.distribute_strategy.experimental_local_results(value)[0]
        return np.array(ops.convert_to_numpy(value))

    def hold(self, variable: Any, array: np.ndarray) -> None:
        """Gives every replica of this process what the first one had of a variable.

        What is summed when it is read, as metrics are, would be shared out by an `assign` to all of them.
        """
        if self._replicas() == 1:
            variable.assign(array)
            return
        for copy in self.distribute_strategy.experimental_local_results(variable.value):
            copy.assign(array)

    def from_chief(self, message: bytes) -> bytes:
        """The chief's message, on all workers."""
        if not self.is_one_of_workers:
            return message
        from tfprior.replicas import strategy

        return strategy.from_chief(self.distribute_strategy, message)

    def _replicas(self) -> int:
        strategy = getattr(self, "distribute_strategy", None)
        return 1 if strategy is None else int(strategy.num_replicas_in_sync)

    def _maybe_symbolic_build(self, *batches: Any, iterator: Any = None, **named: Any) -> None:
        """Builds nothing: that do the constructors, and before training `fit`."""
        self._remember(iterator)

    def _remember(self, iterator: Any) -> None:
        self._epoch_iterator = None if iterator is None else weakref.ref(iterator)

    @property
    def epoch_iterator(self) -> Any:
        """Keras's iterator over the batches of an epoch, of the `fit` or `evaluate` that began last."""
        return self._epoch_iterator and self._epoch_iterator()
