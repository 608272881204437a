"""What `fit` is given as data, in an order that is a function of the step."""

import math
from typing import Any

import keras
import numpy as np

from tfprior.feeding import are_arrays
from tfprior.resumable_dataset import ResumableDataset

STATEFUL = ("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "RandomShuffle", "TruncatedNormal")
ANEW = ("reshuffle_each_iteration", "rerandomize_each_iteration")  # attributes


def resumable(arguments: dict[str, Any], seed: int) -> tuple[dict[str, Any], ResumableDataset]:
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
    if fraction and not are_arrays(x):
        raise ValueError(
            f"validation_split={fraction} parts arrays, and the data are a {type(x).__name__}; pass "
            "validation_data."
        )
    if steps is not None and steps != data.steps_per_epoch:
        raise ValueError(
            f"steps_per_epoch={steps}, and an epoch of the data has {data.steps_per_epoch}; leave it out."
        )
    return arguments, data


def of_arrays(examples: Any, batch_size: int, shuffle: bool, seed: int) -> ResumableDataset:
    from tfprior.data.pipeline import batches

    arrays = keras.tree.map_structure(np.asarray, examples)
    data = batches(arrays, batch_size, shuffle=shuffle, seed=seed).of_all
    return data.told_apart(keras.tree.flatten(arrays), batch_size, shuffle)


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
    # What is skipped is read: of an endless dataset all, of others a part of an epoch.
    return ResumableDataset(
        steps or count, lambda step: dataset.repeat().skip(step % count if count > 0 else step)
    )


def draws(dataset: Any) -> set[str]:
    """Names of the operations of a dataset that give something else each time it is read."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    graph.ParseFromString(
        tf.raw_ops.DatasetToGraphV2(input_dataset=tf.data.experimental.to_variant(dataset)).numpy()
    )
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    constants = {node.name: node.attr["value"].tensor for node in graph.node if node.op == "Const"}

    def has_no_seed(shuffle: Any) -> bool:
        seeds = [constants.get(name) for name in shuffle.input[2:4]]
        return all(seed is not None and not tf.make_ndarray(seed) for seed in seeds)

    return {
        node.op
        for node in nodes
        if node.op in STATEFUL
        or any(node.attr[name].b for name in ANEW)
        or (node.op.startswith("ShuffleDataset") and has_no_seed(node))
    }


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
