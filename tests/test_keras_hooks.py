"""What is reached of Keras that it does not promise: one of these fails first where Keras changes it."""

import inspect

import keras
import pytest
from keras.src.backend.tensorflow.optimizer import TFOptimizer
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.optimizers.base_optimizer import BaseOptimizer

from tfprior.replicas.keras_hooks import LOCAL

STEPS = {
    "_apply_weight_decay": ["self", "variables"],
    "_backend_update_step": ["self", "grads", "trainable_variables", "learning_rate"],
    "_backend_increment_gradient_accumulators": ["self", "grads", "acc_grads"],
    "_overwrite_model_variables_with_average_value": ["self", "trainable_variables"],
}
OF_MODELS = {
    "_compute_loss": ["self", "x", "y", "y_pred", "sample_weight", "training"],
    "_maybe_symbolic_build": ["self", "iterator", "data_batch"],
    "make_train_function": ["self", "force"],
    "make_test_function": ["self", "force"],
    "_flatten_layers": ["self", "include_self", "recursive"],
}


def parameters(owner: type, name: str) -> list[str]:
    return list(inspect.signature(getattr(owner, name)).parameters)


def test_the_version_is_the_one_that_these_were_read_in() -> None:
    assert keras.__version__.startswith("3.15.")


def test_every_step_has_its_parameters_written_down() -> None:
    assert set(STEPS) == set(LOCAL)


@pytest.mark.parametrize("name", LOCAL)
def test_an_optimizers_step_is_done_where_it_is_called(name: str) -> None:
    assert parameters(BaseOptimizer, name) == STEPS[name]
    # What is taken back is TensorFlow's own form, which merges replicas.
    assert name in vars(TFOptimizer)


@pytest.mark.parametrize("name", OF_MODELS)
def test_a_model_has_what_its_steps_reach(name: str) -> None:
    owner = TensorFlowTrainer if hasattr(TensorFlowTrainer, name) else keras.Model
    assert parameters(owner, name) == OF_MODELS[name]


def test_a_compiled_model_tracks_its_loss() -> None:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    assert isinstance(model._loss_tracker, keras.metrics.Mean)
