"""Training data that can be read from any step on."""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

AT_ONCE = 4096


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

    def told_apart(self, arrays: Iterable[np.ndarray], *how: Any) -> "ResumableDataset":
        """The same with the digest of the arrays that its batches are made of, and how."""
        sha = hashlib.sha256(repr(how).encode())
        for part in arrays:
            sha.update(f"{part.dtype} {part.shape}".encode())
            for start in range(0, len(part), AT_ONCE):
                sha.update(np.ascontiguousarray(part[start : start + AT_ONCE]).data)
        return replace(self, digest=sha.hexdigest()[:16])

    def after(self, step: int) -> "ResumableDataset":
        """The same without the first steps."""
        return replace(self, starting_at=lambda later: self.starting_at(step + later))
