"""What Keras is fed from, good and bad, and small priors to feed.

Nothing heavy is imported at the top: the backend is chosen by who imports this.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

GRID = (2, 4, 1)
RANGE = r"values of 3 examples lie outside; expected integers in \[0, 3\]: rescale them, or build the distri"
LABELS_OUT = r"Labels of 2 examples lie outside; expected \[0, 2\]: the model was built with num_classes=3"
GOOD = np.random.default_rng(0).integers(4, size=(12, *GRID)).astype("int32")
LABELS = (np.arange(12) % 3).astype("int32")


def in_batches(*arrays: np.ndarray) -> list[Any]:
    parts = [tuple(array[first : first + 4] for array in arrays) for first in (0, 4, 8)]
    return [part if len(part) > 1 else part[0] for part in parts]


def changed(array: np.ndarray, added: float, count: int) -> np.ndarray:
    """The array with something added to so many examples at its end, in the last batch."""
    added_to = array.copy()
    added_to[-count:] += added
    return added_to


class Indexed(keras.utils.PyDataset):
    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


class Unseen(Indexed):
    """Whose first batch is good when it is looked at before training."""

    def __getitem__(self, index: int) -> Any:
        is_first, self.is_first = self.is_first, False
        return GOOD if is_first else super().__getitem__(index)

    is_first = True


def generated(batches: list[Any]) -> Iterator[Any]:
    yield from batches


def as_dataset(batches: list[Any]) -> Any:
    import tensorflow as tf

    whole = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
    return tf.data.Dataset.from_tensor_slices(whole).batch(4)


SOURCES = {"generator": generated, "indexed": Indexed, "dataset": as_dataset}


def new(distribution: Any = None, jit_compile: bool = False, **options: Any) -> Any:
    from tfprior.distributions import Categorical
    from tfprior.priors import GatedPixelCNN

    small = {"filters": 8, "num_layers": 1, "first_kernel_size": 3, "class_embedding_dim": 4}
    prior = GatedPixelCNN(GRID, distribution or Categorical(4), **{**small, **options})
    prior.compile(optimizer="sgd", jit_compile=jit_compile)
    return prior


def finite(model: Any) -> bool:
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def mixture() -> Any:
    from tfprior.distributions import DiscretizedLogisticMixture

    return DiscretizedLogisticMixture(2, 4)
