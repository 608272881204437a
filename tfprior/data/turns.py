"""Examples of every class in turn, to show some of all."""

import numpy as np


def spread(labels: np.ndarray | None, count: int) -> np.ndarray:
    """Indices in an order that goes through the classes in turn; as they are without labels."""
    if labels is None:
        return np.arange(count)
    nth = np.zeros(count, int)
    for label in np.unique(labels):
        members = labels == label
        nth[members] = np.arange(members.sum())
    return np.lexsort((labels, nth))
