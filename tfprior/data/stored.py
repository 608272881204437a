"""Arrays that stay in their files, of which examples are read whenever they are asked for."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .mapped import MappedArray


class StoredArray:
    """Integers (N, …) of arrays in files, one after the other; indexed, it gives an array in memory.

    Args:
        parts: the arrays, all of one shape but for their lengths, and of one type.
        highest: the highest value of all, or more.
        index: numbers of the examples that belong to it, in order; all when left out.
        table: what every value is looked up in.
        dtype: of the arrays that it gives.
    """

    def __init__(
        self,
        parts: Sequence[MappedArray],
        highest: int,
        index: np.ndarray | None = None,
        table: np.ndarray | None = None,
        dtype: Any = np.int32,
    ) -> None:
        self._parts, self._highest, self._table = tuple(parts), highest, table
        self._ends = np.cumsum([part.shape[0] for part in parts])
        self._index = np.arange(self._ends[-1]) if index is None else index
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = (len(self._index), *parts[0].shape[1:])
        self.ndim = len(self.shape)

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, which: int | slice | np.ndarray) -> np.ndarray:
        numbers = self._index[which]
        if np.ndim(numbers) == 0:
            return self[np.array([which])][0]
        owners = np.searchsorted(self._ends, numbers, side="right")
        read = np.empty((len(numbers), *self.shape[1:]), self.dtype if self._table is None else np.int32)
        for owner in np.unique(owners):
            part, its = self._parts[owner], owners == owner
            read[its] = part.take(numbers[its] - (self._ends[owner] - part.shape[0]))
        return read if self._table is None else self._table[read].astype(self.dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def max(self) -> int:
        """The highest value, or more."""
        return self._highest if self._table is None else int(self._table[: self._highest + 1].max())

    def select(self, index: np.ndarray) -> "StoredArray":
        """Some of the examples."""
        return StoredArray(self._parts, self._highest, self._index[index], self._table, self.dtype)

    def looked_up(self, table: np.ndarray) -> "StoredArray":
        """The same examples, every value looked up in the table."""
        table = table if self._table is None else table[self._table]
        return StoredArray(self._parts, self._highest, self._index, table, self.dtype)

    def astype(self, dtype: Any) -> "StoredArray":
        """The same examples, as arrays of another type."""
        return StoredArray(self._parts, self._highest, self._index, self._table, dtype)


def selected(examples: Any, index: np.ndarray) -> Any:
    """The examples that the index names, which stay where they are if the others do."""
    return examples.select(index) if isinstance(examples, StoredArray) else examples[index]
