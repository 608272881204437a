"""The steps of training, evaluation and prediction of a replica among several.

Each replica differentiates the mean over its own examples; one collective adds up what the others have, each
times its number of examples, and every replica then does the same with the sums.
"""

import warnings
from typing import Any, NamedTuple

import tensorflow as tf
from keras import tree

from tfprior.compilation import num_replicas
from tfprior.feeding import Batch
from tfprior.loss_scaling import put_back_where_refused
from tfprior.once_a_step import one_step
from tfprior.replicas.collective import add_up, counts_of_all, replica_id
from tfprior.replicas.share import Share, sees


class Sums(NamedTuple):
    """What a step tells of the global batch.

    Attributes:
        loss: mean over its examples.
        statistics: of `GridModel.statistics`, added up.
        count: number of examples.
    """

    loss: Any
    statistics: Any
    count: Any


def train(model: Any, data: Any) -> Sums:
    """One step of training: moves weights and codebooks."""
    batch = filled(model.step_batch(data))
    differentiated = _differentiated
    if model.compiles_inside:
        differentiated = tf.function(_differentiated, jit_compile=True, autograph=False)
    loss, gradients, statistics = differentiated(model, batch, share_of(batch.count))
    (loss, gradients), statistics, count = of_all((loss, gradients), statistics, batch.count)
    with put_back_where_refused(model.optimizer, model.weights):
        if gradients:
            model.optimizer.apply(gradients, model.trainable_variables)
        else:
            warnings.warn("The model does not have any trainable weights.", stacklevel=2)
        model.follow(statistics)
    return Sums(loss, statistics, count)


def evaluate(model: Any, data: Any) -> Sums:
    """One step of evaluation: moves nothing."""
    batch = filled(model.step_batch(data))
    with sees(share_of(batch.count)):
        loss, statistics = _examined(model, batch.examples, training=False)
    return Sums(*of_all(loss, statistics, batch.count))


def predict(model: Any, data: Any) -> Any:
    """What `predict` gives of this replica's examples."""
    batch = filled(model.step_batch(data))
    with sees(share_of(batch.count)):
        outputs = model(model.bounded_inputs(batch.examples), training=False)
    return model.predictions(outputs, batch.examples.inputs)[: batch.count]


class Filled(NamedTuple):
    """A batch that is not empty: with no example of its own it holds a blank one."""

    examples: Batch
    count: Any


def filled(batch: Batch) -> Filled:
    """The batch, and how many examples it has: () int32."""
    count = tf.shape(batch.values)[0]
    return Filled(Batch(*(None if part is None else _with_blank(part, count) for part in batch)), count)


def share_of(count: Any) -> Share:
    """The part of the global batch that this replica's `count` examples are."""
    counts = counts_of_all(count)
    first = tf.reduce_sum(tf.where(tf.range(num_replicas()) < replica_id(), counts, 0))
    return Share(first, count, tf.reduce_sum(counts), tf.maximum(count, 1), add_up)


def of_all(means: Any, sums: Any, count: Any) -> tuple[Any, Any, Any]:
    """Means over a replica's own `count` examples, and sums over them → those of the global batch, and N."""
    count = tf.cast(count, "float32")
    exists = tf.cast(count > 0, "float32")
    weighted = tree.map_structure(
        lambda mean: None if mean is None else mean * tf.cast(count, mean.dtype), means
    )
    own = tree.map_structure(lambda part: tf.cast(part, "float32") * exists, sums)
    weighted, sums, total = add_up((weighted, own, count))
    means = tree.map_structure(lambda sum: None if sum is None else sum / tf.cast(total, sum.dtype), weighted)
    return means, sums, total


def _differentiated(model: Any, batch: Filled, share: Share) -> tuple[Any, Any, Any]:
    with sees(share), tf.GradientTape() as tape:
        loss, statistics = _examined(model, batch.examples, training=True)
        scaled = model.optimizer.scale_loss(loss)
    weights = [variable.value for variable in model.trainable_variables]
    gradients = [
        None if gradient is None else tf.ensure_shape(tf.convert_to_tensor(gradient), weight.shape)
        for gradient, weight in zip(tape.gradient(scaled, weights), weights, strict=True)
    ]
    return loss, gradients, statistics


def _examined(model: Any, batch: Batch, training: bool) -> tuple[Any, Any]:
    """The loss of a batch, and what else is to be known of it."""
    inputs = model.bounded_inputs(batch)
    outputs = model(inputs, training=training)
    examined = inputs, batch.inputs, outputs, batch.sample_weight, training
    with one_step():
        return model._compute_loss(*examined), model.statistics(*examined)


def _with_blank(part: Any, count: Any) -> Any:
    """The part of a batch, and a blank example where it has none."""
    part = tf.convert_to_tensor(part)
    missing = tf.cast(count == 0, "int32")
    blank = tf.zeros(tf.concat([[missing], tf.shape(part)[1:]], axis=0), part.dtype)
    joined = tf.concat([part, blank], axis=0)
    joined.set_shape((None, *part.shape[1:]))
    return joined
