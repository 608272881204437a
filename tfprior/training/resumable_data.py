"""What `fit` is given as data, in an order that is a function of the step."""

import hashlib
import math
from typing import Any

import keras
import numpy as np

from tfprior.feeding import are_arrays
from tfprior.resumable_dataset import ResumableDataset

STATEFUL = ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "RandomShuffle", "TruncatedNormal")
ANEW = ("reshuffle_each_iteration", "rerandomize_each_iteration")  # attributes


def resumable(model: Any, arguments: dict[str, Any], seed: int) -> tuple[dict[str, Any], ResumableDataset]:
    """The arguments of `fit` without what tells of the data, and the data.

    Raises:
        ValueError: for data whose order another process could not know.
    """
    arguments = dict(arguments)
    x, y = arguments.pop("x"), arguments.pop("y")
    batch_size, shuffle = arguments.pop("batch_size") or 32, arguments.pop("shuffle")
    steps, fraction = arguments.pop("steps_per_epoch"), arguments.pop("validation_split")
    if isinstance(x, ResumableDataset):
        data = x
    elif are_arrays(x):
        examples = (x, y) if y is not None else x
        if fraction and arguments["validation_data"] is None:
            examples, arguments["validation_data"] = parted(examples, fraction)
        arguments["validation_batch_size"] = arguments["validation_batch_size"] or batch_size
        data = of_arrays(examples, batch_size, bool(shuffle), seed)
    elif hasattr(x, "element_spec") and hasattr(x, "cardinality"):
        data = of_dataset(x, steps)
        steps = None
    else:
        raise ValueError(
            f"Got {type(x).__name__} as data to go on with; expected arrays, a tf.data.Dataset or a "
            "ResumableDataset, whose order the next process knows too."
        )
    if steps is not None and steps != data.steps_per_epoch:
        raise ValueError(
            f"steps_per_epoch={steps}, and an epoch of the data has {data.steps_per_epoch}; leave it out."
        )
    return arguments, data


def of_arrays(examples: Any, batch_size: int, shuffle: bool, seed: int) -> ResumableDataset:
    from tfprior.data.pipeline import batches

    sha = hashlib.sha256(f"{batch_size} {shuffle}".encode())
    arrays = keras.tree.map_structure(np.asarray, examples)
    for part in keras.tree.flatten(arrays):
        sha.update(f"{part.dtype} {part.shape}".encode())
        sha.update(np.ascontiguousarray(part).data)
    data = batches(arrays, batch_size, shuffle=shuffle, seed=seed).of_all
    return ResumableDataset(data.steps_per_epoch, data.starting_at, sha.hexdigest()[:16])


def of_dataset(dataset: Any, steps: int | None) -> ResumableDataset:
    """A dataset that gives the same batches each time it is read, over and over.

    Raises:
        ValueError: for one that draws its order anew, and for one of unknown length.
    """
    random = sorted(draws(dataset))
    if random:
        raise ValueError(
            f"The dataset draws anew each time it is read ({', '.join(random)}), and the next process would "
            "draw otherwise; pass arrays, images.resumable(batch_size), or a ResumableDataset of your own."
        )
    count = int(dataset.cardinality())
    if steps is None and count < 0:
        raise ValueError(
            "The dataset does not tell how many batches it has; pass steps_per_epoch, or apply "
            "tf.data.experimental.assert_cardinality(batches)."
        )
    return ResumableDataset(steps or count, lambda step: dataset.repeat().skip(step))


def draws(dataset: Any) -> set[str]:
    """Names of the operations of a dataset that give something else each time it is read."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(
        tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(dataset)).numpy()
    )
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {node.op for node in nodes if node.op in STATEFUL or any(node.attr[name].b for name in ANEW)}


def parted(examples: Any, fraction: float) -> tuple[Any, Any]:
    """The examples without the last part, and that part, as Keras holds them out."""
    count = len(keras.tree.flatten(examples)[0])
    place = math.floor(count * (1 - fraction))
    if not 0 < place < count:
        raise ValueError(f"validation_split={fraction} leaves nothing of {count} examples on one side.")
    return (
        keras.tree.map_structure(lambda part: part[:place], examples),
        keras.tree.map_structure(lambda part: part[place:], examples),
    )
