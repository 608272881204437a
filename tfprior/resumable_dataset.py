"""Training data that can be read from any step on."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class ResumableDataset:
    """Batches whose order is a function of the step, which `fit` takes as data.

    Attributes:
        steps_per_epoch: batches of an epoch.
        starting_at: step, from 0 at the first of training → a `tf.data.Dataset` of all batches from there on,
            without an end.
        digest: by which other data are told apart; "" where nobody knows.
    """

    steps_per_epoch: int
    starting_at: Callable[[int], Any]
    digest: str = ""

    def after(self, step: int) -> "ResumableDataset":
        """The same without the first steps."""
        return replace(self, starting_at=lambda later: self.starting_at(step + later))
