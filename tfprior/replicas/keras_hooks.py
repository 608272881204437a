"""What is reached of Keras that it does not promise: of version 3.15, which setup.cfg asks for.

Of the model `_loss_tracker`, `_compute_loss`, `_maybe_symbolic_build`, `make_train_function`,
`make_test_function` and `_flatten_layers`; of the optimizer the steps of `LOCAL`, which for TensorFlow are
merged over replicas, and in the base class done where they are called.
"""

import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf
from keras import tree
from keras.src.optimizers.base_optimizer import BaseOptimizer

from tfprior.replicas import exact_step

LOCAL = (
    "_apply_weight_decay",
    "_backend_update_step",
    "_backend_increment_gradient_accumulators",
    "_overwrite_model_variables_with_average_value",
)

Step = Callable[[Any, Any], exact_step.Sums]


def update_locally(optimizer: Any) -> None:
    """Lets every replica update its own copy of the weights: their gradients are the same by then.

    Keras would add them up once more, and a conditional step, as in gradient accumulation, could not.
    """
    for each in (optimizer, getattr(optimizer, "inner_optimizer", None)):
        if each is not None:
            for name in LOCAL:
                setattr(each, name, types.MethodType(getattr(BaseOptimizer, name), each))


def steps_of(model: Any, step: Step) -> Callable[[Iterator[Any]], dict[str, Any]]:
    """A function that takes the next `steps_per_execution` batches, or those that are left, in one call.

    Their graph is written out: a loop around collectives is what TensorFlow refuses.
    """
    strategy = model.distribute_strategy

    def run(batches: list[Any]) -> dict[str, Any]:
        for batch in batches:
            sums = strategy.run(step, args=(model, batch))
            # The same on every replica.
            sums = tree.map_structure(lambda part: strategy.experimental_local_results(part)[0], sums)
            logs = model.tracked(sums)
        return logs

    if not model.run_eagerly:
        run = tf.function(run, autograph=False)

    def take(iterator: Iterator[Any]) -> dict[str, Any]:
        batches = list(itertools.islice(iterator, model.steps_per_execution))
        if not batches:
            raise StopIteration
        return run(batches)

    return take
