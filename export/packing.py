"""A state of many tensors as one: what a caller in any language hands from step to step."""

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
        flat = [
            ops.reshape(ops.cast(state[entry.name], "float32"), (-1, math.prod(entry.shape)))
            for entry in self.entries
        ]
        return ops.concatenate(flat, axis=-1)

    def unpack(self, packed: Any) -> dict[str, Any]:
        """(B, S) float32 → dict of (B, …) in their own types."""
        state, start = {}, 0
        for name, shape, dtype in self.entries:
            end = start + math.prod(shape)
            state[name] = ops.cast(ops.reshape(packed[:, start:end], (-1, *shape)), dtype)
            start = end
        return state
