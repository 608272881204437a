"""What `compile` and `fit` do for a model that has a loss of its own, on one device or on several."""

import abc
from contextlib import nullcontext
from typing import Any

import keras

from tfprior.stepping import SteppedModel


class OwnLossModel(SteppedModel, abc.ABC):
    """Compiles without a loss or metrics, and with an optimizer whose variables are there before any step."""

    built: bool

    @property
    @abc.abstractmethod
    def reported(self) -> str:
        """The names of its scores, in words."""

    def compile(self, optimizer: Any = "rmsprop", loss: Any = None, **kwargs: Any) -> None:
        """Keras `compile`, without a loss or metrics: the model has its own.

        Raises:
            ValueError: for a loss or metrics.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            value = loss if name == "loss" else kwargs.get(name)
            if value:
                raise ValueError(
                    f"compile got {name}={value!r}; {type(self).__name__} has its own loss and reports "
                    f"{self.reported}: leave it out, compile(optimizer=…)."
                )
        super().compile(optimizer, **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as the model was when saved; Keras wants this where `compile` is a model's own."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.optimizer is not None and self.built:
            self.optimizer.build(self.trainable_variables)

    def _build_optimizer(self) -> None:
        """Makes the optimizer's variables: made in the first step, they would have it traced twice."""
        if self.optimizer is None:
            raise ValueError('Compiled with optimizer=None; fit needs one: compile(optimizer="adam").')
        if self.optimizer.built:
            return
        strategy = getattr(self, "distribute_strategy", None)
        with strategy.scope() if strategy else nullcontext():
            self.optimizer.build(self.trainable_variables)

    def _symbolic_build(self, *batches: Any, iterator: Any = None, **named: Any) -> None:
        """Builds the optimizer alone: on JAX Keras would call the built model, without its labels."""
        self._remember(iterator)
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)

    def _check_strategy(self) -> None:
        if keras.backend.backend() == "tensorflow":
            from tfprior.replicas import strategy

            strategy.check_strategy(self)

    def _set_replicas(self) -> None:
        """Gives all of them the chief's numbers, and each noise of its own."""
        if self._replicas() > 1:
            from tfprior.replicas import strategy

            strategy.same_on_all_workers(self)
            strategy.set_noise_apart(self)
