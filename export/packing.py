"""A state of many tensors as one: what a caller in any language hands from step to step."""

import itertools
import math
from typing import Any, NamedTuple

from keras import ops


class Entry(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str


class Packing:
    """Packs the tensors of a state, in the order of its names, into one (B, S) float32 tensor.

    Integers up to 2^24 and all 16-bit floats pass through unchanged.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.entries = [
            Entry(name, tuple(value.shape[1:]), getattr(value.dtype, "name", str(value.dtype)))
            for name, value in state.items()
        ]
        self.size = sum(math.prod(entry.shape) for entry in self.entries)

    def pack(self, state: dict[str, Any]) -> Any:
        """dict of (B, …) → (B, S) float32."""
        flat = []
        for name, shape, _ in self.entries:
            part = ops.cast(state[name], "float32")
            flat.append(part if len(shape) == 1 else ops.reshape(part, (-1, math.prod(shape))))
        return ops.concatenate(flat, axis=1)

    def unpack(self, packed: Any) -> dict[str, Any]:
        """(B, S) float32 → dict of (B, …) in their own types."""
        sizes = [math.prod(entry.shape) for entry in self.entries]
        parts = ops.split(packed, list(itertools.accumulate(sizes))[:-1], axis=1)
        return {
            name: ops.cast(part if len(shape) == 1 else ops.reshape(part, (-1, *shape)), dtype)
            for (name, shape, dtype), part in zip(self.entries, parts, strict=True)
        }
