"""Which tf.distribute strategies a model trains under, and what is set right before it does."""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfprior.replicas.collective import replica_id

EXACT = (
    tf.distribute.MirroredStrategy,
    tf.distribute.MultiWorkerMirroredStrategy,
    tf.distribute.OneDeviceStrategy,
)


def check_strategy(model: Any) -> None:
    """Raises ValueError for a strategy that is not exact, or one that the model was not built under."""
    own = model._distribute_strategy
    strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else own
    name = type(strategy).__name__
    if strategy is not own:
        raise ValueError(
            f"{type(model).__name__} was built outside of the {name} that it is to train under; build and "
            "compile it within strategy.scope()."
        )
    if strategy is not None and not isinstance(strategy, EXACT):
        raise ValueError(
            f"The model was built under a {name}; expected a MirroredStrategy or a "
            "MultiWorkerMirroredStrategy, under which training gives the numbers of one device."
        )
    optimizer = getattr(model, "optimizer", None)
    if strategy is not None and getattr(optimizer, "_distribution_strategy", own) is not own:
        raise ValueError(
            f"The optimizer was made outside of the {name} of the model; compile within strategy.scope()."
        )


def set_noise_apart(model: Any) -> None:
    """Gives each replica noise of its own, for dropout; the first one has that of a single device.

    What is drawn for the whole batch, as vectors to restart codes from, is the same on all of them.
    """
    strategy = model.distribute_strategy
    shared = {id(generator) for generator in model.noise_of_batch()}
    for layer in model._flatten_layers():
        for generator in getattr(layer, "_seed_generators", []):
            if id(generator) not in shared:
                _set_apart(generator.state.value, strategy)


def has_workers(strategy: Any) -> bool:
    """Whether it is of several processes."""
    return isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)


def is_chief(strategy: Any) -> bool:
    """Whether this process is the only one, or the first of several workers."""
    return not has_workers(strategy) or not strategy.cluster_resolver.task_id


def same_on_all_workers(model: Any) -> None:
    """Sets all that changes in training to what the chief has."""
    strategy = model.distribute_strategy
    if not has_workers(strategy):
        return
    variables = [*model.variables, *(model.optimizer.variables if model.optimizer else ())]
    values = _of_chief(strategy, [variable.value for variable in variables])
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def from_chief(strategy: Any, message: bytes) -> bytes:
    """The chief's message, on all workers."""
    (length,) = map(int, _of_chief(strategy, [tf.constant(len(message), "int64")]))
    if not length:  # of nothing TensorFlow makes no sum: it crashes
        return b""
    size = max(4096, 1 << (length - 1).bit_length())  # of few sizes: each is traced
    padded = message[:length].ljust(size, b"\0")  # another worker's is not looked at
    (words,) = _of_chief(strategy, [tf.constant(np.frombuffer(padded, "int64"))])
    return bytes(words.numpy().tobytes()[:length])


def _of_chief(strategy: Any, values: list[Any]) -> list[Any]:
    """The values that the first replica has, on all workers."""
    # Collectives know floats and two types of integers.
    kinds = [tf.as_dtype(value.dtype) for value in values]
    values = [
        tf.cast(value, kind if kind.is_floating else "int64")
        for value, kind in zip(values, kinds, strict=True)
    ]
    return [
        tf.cast(strategy.experimental_local_results(value)[0], kind)
        for value, kind in zip(_sum_of_first(strategy)(values), kinds, strict=True)
    ]


@functools.cache
def _sum_of_first(strategy: Any) -> Any:
    """Sums over the replicas of values, to which the first one alone gives what is not zero."""

    def of_replica(values: list[Any]) -> list[Any]:
        context, is_first = tf.distribute.get_replica_context(), tf.equal(replica_id(), 0)
        own = [tf.where(is_first, value, tf.zeros_like(value)) for value in values]
        return [context.all_reduce("SUM", value) for value in own]

    return tf.function(lambda values: strategy.run(of_replica, args=(values,)), autograph=False)


def shared(strategy: Any, dataset: Any) -> Any:
    """Batches of all replicas, each cut into parts of about the same size, of which every replica has one."""
    replicas = strategy.num_replicas_in_sync

    def of_worker(context: Any) -> Any:
        own = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * own

        def parts(batch: Any) -> Any:
            def part(replica: Any) -> Any:
                return tf.nest.map_structure(lambda each: _cut(each, replica, replicas), batch)

            return tf.data.Dataset.range(first, first + own).map(part)

        return dataset.flat_map(parts).prefetch(tf.data.AUTOTUNE)

    return strategy.distribute_datasets_from_function(of_worker)


def _cut(tensor: Any, part: Any, parts: int) -> Any:
    count = tf.shape(tensor, out_type="int64")[0]
    return tensor[part * count // parts : (part + 1) * count // parts]


def first_of_all(strategy: Any, dataset: Any) -> Any:
    """The first batch of a dataset, distributed already or not, with the examples of all replicas, as arrays.

    Raises:
        ValueError: for an empty dataset.
    """
    if not isinstance(dataset, tf.distribute.DistributedDataset):
        dataset = strategy.experimental_distribute_dataset(dataset)
    batch = next(iter(dataset), None)
    if batch is None:
        raise ValueError("Got an empty dataset; expected at least one example.")
    kinds = keras.tree.map_structure(lambda part: strategy.experimental_local_results(part)[0].dtype, batch)

    def wide(part: Any) -> Any:  # of integers collectives know two types
        return tf.cast(part, "int64") if part.dtype.is_integer else part

    @tf.function(autograph=False)
    def gathered(batch: Any) -> Any:
        batch = strategy.run(lambda parts: keras.tree.map_structure(wide, parts), args=(batch,))
        return keras.tree.map_structure(lambda part: strategy.gather(part, axis=0), batch)

    return keras.tree.map_structure(
        lambda part, kind: np.asarray(tf.cast(part, kind)), gathered(batch), kinds
    )


def _set_apart(state: Any, strategy: Any) -> None:
    first = np.asarray(strategy.experimental_local_results(state)[0])
    per_worker = len(strategy.extended.worker_devices)
    resolver = strategy.cluster_resolver
    worker = resolver.task_id if resolver is not None and resolver.task_id else 0
    for index, copy in enumerate(strategy.experimental_local_results(state)):
        replica = worker * per_worker + index
        seed = (int(first[0]) + 0x9E3779B9 * replica) % 2**32
        copy.assign(tf.cast([seed, int(first[1])], state.dtype))
