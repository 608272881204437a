"""What replicas of a tf.distribute strategy add up."""

from typing import Any

import tensorflow as tf
from keras import tree

from tfprior.compilation import num_replicas


def replica_id() -> Any:
    """Which of the replicas runs this, a tensor in a graph."""
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def add_up(tensors: Any) -> Any:
    """Sums over the replicas of a structure of float tensors, in one collective; None stays None."""
    leaves = [leaf for leaf in tree.flatten(tensors) if leaf is not None]
    flat = tf.concat([tf.reshape(tf.cast(leaf, "float32"), (-1,)) for leaf in leaves], axis=0)
    flat = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, flat)
    parts = iter(tf.split(flat, [leaf.shape.num_elements() for leaf in leaves]))
    return tree.map_structure(lambda leaf: None if leaf is None else _like(next(parts), leaf), tensors)


def counts_of_all(count: Any) -> Any:
    """How many examples each replica has, (R,) int32, of the `count` that this one has."""
    mine = tf.one_hot(replica_id(), num_replicas(), dtype="float32") * tf.cast(count, "float32")
    return tf.cast(add_up(mine), "int32")


def _like(part: Any, leaf: Any) -> Any:
    return tf.cast(tf.reshape(part, leaf.shape), leaf.dtype)
