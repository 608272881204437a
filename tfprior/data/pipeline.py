"""Batches as tf.data pipelines, whose order is a function of the step.

epoch 0, 1, 2, … ─ an order of the examples each ─ batches of indices ─ gathered, and changed
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfprior.inputs import is_integer
from tfprior.resumable_dataset import ResumableDataset

from .stored import StoredArray

Change = Callable[[Any, tf.Tensor], Any]
"""A batch, and a seed (2,) int64 of its own → the batch that is given."""


class Batches(NamedTuple):
    """The batches of a data set.

    Attributes:
        of_one_epoch: another one every time it is read.
        of_all: those of all epochs.
    """

    of_one_epoch: tf.data.Dataset
    of_all: ResumableDataset


def batches(
    examples: Any,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    drop_remainder: bool = False,
    change: Change | None = None,
) -> Batches:
    """Batches of arrays of N examples each.

    Args:
        examples: an array, or a structure of them.
        batch_size: examples in a batch.
        shuffle: draws an order for every epoch.
        seed: of orders and changes.
        drop_remainder: leaves out a smaller last batch.
        change: what is done to a batch.
    """
    check_batch_size(batch_size)
    # What moves through the pipeline before batching is indices only.
    gather = tf.nest.map_structure(gathering, examples)
    num_examples = len(tf.nest.flatten(examples)[0])
    steps = steps_of(num_examples, batch_size, drop_remainder)

    def indices(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.range(num_examples, dtype="int64")
        if shuffle:
            order = tf.random.experimental.stateless_shuffle(order, tf.stack([seed, epoch]), alg="philox")
        return tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder)

    def gathered(step: tf.Tensor, index: tf.Tensor) -> Any:
        batch = tf.nest.map_structure(lambda examples_at: examples_at(index), gather)
        return change(batch, tf.stack([seed, step])) if change else batch

    def of(epochs: tf.data.Dataset, done: int = 0) -> tf.data.Dataset:
        numbered = epochs.flat_map(
            lambda epoch: (
                indices(epoch).enumerate().map(lambda number, index: (epoch * steps + number, index))
            )
        )
        return numbered.skip(done).map(gathered, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)

    return all_of(of, seed, steps)


def gathering(examples: Any) -> Callable[[tf.Tensor], tf.Tensor]:
    """What gives those of the examples whose numbers it is given (B,)."""
    if isinstance(examples, StoredArray):
        return mapped(lambda index: examples[index], np.zeros(1, int), examples.dtype)
    with tf.device("CPU:0"):
        held = tf.constant(examples)  # once in the host's memory
    return lambda index: tf.gather(held, index)


def sharded_batches(
    sizes: list[int],
    read: Callable[[int], dict[str, np.ndarray]],
    batch_size: int,
    shuffle: bool,
    seed: int,
    drop_remainder: bool,
) -> Batches:
    """Batches from shards of so many examples, which each are a dict of arrays."""
    check_batch_size(batch_size)
    first = read(0)
    kinds = {name: "float32" if part.dtype.kind == "f" else "int32" for name, part in first.items()}
    signature = {name: tf.TensorSpec((None, *part.shape[1:]), kinds[name]) for name, part in first.items()}
    steps = steps_of(sum(sizes), batch_size, drop_remainder)

    def examples(epoch: int, done: int) -> Iterator[dict[str, np.ndarray]]:
        """Those of the shards, in their order, after the `done` ones."""
        for index in order(len(sizes), epoch) if shuffle else range(len(sizes)):
            if done >= sizes[index]:
                done -= sizes[index]
                continue
            shard = read(int(index))
            places = order(sizes[index], epoch, index) if shuffle else np.arange(sizes[index])
            yield {name: part[places[done:]].astype(kinds[name]) for name, part in shard.items()}
            done = 0

    def order(count: int, *numbers: int) -> np.ndarray:
        return np.random.default_rng([seed, *numbers]).permutation(count)

    def of_epoch(epoch: tf.Tensor, done: tf.Tensor) -> tf.data.Dataset:
        read_from = tf.data.Dataset.from_generator(
            examples, args=(epoch, done * batch_size), output_signature=signature
        )
        return read_from.rebatch(batch_size, drop_remainder)

    def of(epochs: tf.data.Dataset, done: int = 0) -> tf.data.Dataset:
        started = tf.data.Dataset.from_tensors(tf.constant(done, "int64")).concatenate(
            tf.data.Dataset.from_tensors(tf.constant(0, "int64")).repeat()
        )
        dataset = tf.data.Dataset.zip((epochs, started)).flat_map(of_epoch)
        if len(signature) == 1:
            dataset = dataset.map(lambda parts: parts["values"])
        return dataset.prefetch(tf.data.AUTOTUNE)

    return all_of(of, seed, steps)


def all_of(of: Callable[..., tf.data.Dataset], seed: int, steps: int) -> Batches:
    """Batches of one epoch and of all, where `of` gives those of some epochs after the first `done` ones."""
    some_epoch = tf.data.Dataset.random(seed, rerandomize_each_iteration=True).take(1)

    def starting_at(step: int) -> tf.data.Dataset:
        if not steps:
            raise ValueError(
                "There are fewer examples than a batch has; expected a batch_size that they fill."
            )
        epoch, done = divmod(step, steps)
        return of(tf.data.Dataset.counter(epoch), done)

    once = of(some_epoch).apply(tf.data.experimental.assert_cardinality(steps))
    return Batches(once, ResumableDataset(steps, starting_at))


def steps_of(num_examples: int, batch_size: int, drop_remainder: bool) -> int:
    return num_examples // batch_size if drop_remainder else -(-num_examples // batch_size)


def mapped(
    function: Callable[[np.ndarray], np.ndarray], examples: Any, dtype: Any = np.float32
) -> Callable[[tf.Tensor], tf.Tensor]:
    """What makes of a batch of such examples what the function makes of arrays, of this type."""
    shape = function(examples[:1]).shape[1:]  # now: within a graph the function could not run

    def of_batch(batch: tf.Tensor) -> tf.Tensor:
        made = tf.numpy_function(function, [batch], dtype, stateful=False)
        made.set_shape((None, *shape))
        return made

    return of_batch


def check_batch_size(batch_size: Any) -> None:
    if not is_integer(batch_size) or batch_size < 1:
        raise ValueError(
            f"batch_size={batch_size!r} is not a size; expected an integer of at least 1: pass 64, say."
        )
