"""Batches as a tf.data pipeline; the only file here that needs TensorFlow."""

from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from tfprior.inputs import is_integer


def batches(
    values: np.ndarray,
    labels: np.ndarray | None,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    flip: bool,
    repeat: bool,
    drop_remainder: bool,
    condition_map: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tf.data.Dataset:
    """Batches of values (B, H, W, C), with a condition (B,) where there are labels; see `Images.pipeline`."""
    if not is_integer(batch_size) or batch_size < 1:
        raise ValueError(
            f"batch_size={batch_size!r} is not a size; expected an integer of at least 1: pass 64, say."
        )
    # The arrays stay in host memory once; what moves through the pipeline before batching is indices only.
    with tf.device("CPU:0"):
        images = tf.constant(values)
        classes = None if labels is None else tf.constant(labels)
    map_shape = () if condition_map is None or labels is None else condition_map(labels[:1]).shape[1:]

    def gather(index: tf.Tensor, coin: tf.Tensor | None = None) -> tf.Tensor | dict[str, tf.Tensor]:
        batch = tf.gather(images, index)  # (B, H, W, C)
        if coin is not None:
            batch = tf.where(coin[:, None, None, None] % 2 == 0, batch, tf.reverse(batch, axis=[2]))
        if classes is None:
            return batch
        return {"values": batch, "condition": conditioned(tf.gather(classes, index))}

    def conditioned(part: tf.Tensor) -> tf.Tensor:
        if condition_map is None:
            return part
        condition = tf.numpy_function(condition_map, [part], tf.float32, stateful=False)
        condition.set_shape((None, *map_shape))
        return condition

    dataset = tf.data.Dataset.range(len(values))
    if shuffle:
        dataset = dataset.shuffle(len(values), seed=seed, reshuffle_each_iteration=True)
    if flip:
        # Another seed than the order's: the same stream would tie an image's coin to its place.
        coins = tf.data.Dataset.random(seed=seed + 1, rerandomize_each_iteration=True)
        dataset = tf.data.Dataset.zip((dataset, coins))
    dataset = dataset.batch(batch_size, drop_remainder=drop_remainder)
    if repeat:  # after batching, so that no batch mixes two epochs
        dataset = dataset.repeat()
    return dataset.map(gather, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def sharded_batches(
    num_shards: int,
    read: Callable[[int], dict[str, np.ndarray]],
    num_examples: int,
    batch_size: int,
    shuffle: bool,
    seed: int,
    drop_remainder: bool,
) -> tf.data.Dataset:
    """Batches from shards that each are a dict of arrays; see `ShardedCodes.pipeline`."""
    first = read(0)
    kinds = {name: "float32" if part.dtype.kind == "f" else "int32" for name, part in first.items()}
    shapes = {name: part.shape[1:] for name, part in first.items()}
    signature = {name: tf.TensorSpec((None, *shapes[name]), kind) for name, kind in kinds.items()}
    orders = np.random.default_rng(seed)

    def examples() -> Iterator[dict[str, np.ndarray]]:
        for index in orders.permutation(num_shards) if shuffle else range(num_shards):
            shard = read(int(index))
            count = len(shard["values"])
            order = orders.permutation(count) if shuffle else np.arange(count)
            yield {name: part[order].astype(kinds[name]) for name, part in shard.items()}

    dataset = tf.data.Dataset.from_generator(examples, output_signature=signature)
    dataset = dataset.rebatch(batch_size, drop_remainder)
    if len(signature) == 1:
        dataset = dataset.map(lambda parts: parts["values"])
    num_batches = num_examples // batch_size if drop_remainder else -(-num_examples // batch_size)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(num_batches))
    return dataset.prefetch(tf.data.AUTOTUNE)
