"""Batches as a tf.data pipeline; the only file here that needs TensorFlow."""

import numpy as np
import tensorflow as tf


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
) -> tf.data.Dataset:
    """Batches of values (B, H, W, C), with a condition (B,) where there are labels; see `Images.pipeline`."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"batch_size={batch_size!r} is not a size; expected an integer of at least 1: pass 64, say."
        )
    # The arrays stay in host memory once; what moves through the pipeline before batching is indices only.
    with tf.device("CPU:0"):
        images = tf.constant(values)
        classes = None if labels is None else tf.constant(labels)

    def gather(index: tf.Tensor, coin: tf.Tensor | None = None) -> tf.Tensor | dict[str, tf.Tensor]:
        batch = tf.gather(images, index)  # (B, H, W, C)
        if coin is not None:
            batch = tf.where(coin[:, None, None, None] % 2 == 0, batch, tf.reverse(batch, axis=[2]))
        if classes is None:
            return batch
        return {"values": batch, "condition": tf.gather(classes, index)}

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
