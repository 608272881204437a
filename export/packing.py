"""A state of many tensors as one: what a caller in any language hands from step to step."""

import math
from typing import Any, NamedTuple

import numpy as np
from keras import ops


class Entry(NamedTuple):
    name: str
    shape: tuple[int, ...]
    dtype: str


class Packing:
    """Packs the tensors of a state, in the order of its names, into one (B, S) float32 tensor.

    Integers up to 2^24 and all 16-bit floats pass through unchanged. A state without tensors packs into one
    zero, since no runtime likes a tensor of size zero.
    """

    def __init__(self, state: dict[str, Any]) -> None:
        self.entries = [
            Entry(name, tuple(value.shape[1:]), getattr(value.dtype, "name", str(value.dtype)))
            for name, value in state.items()
        ]
        self.size = sum(math.prod(entry.shape) for entry in self.entries) or 1

    def pack(self, state: dict[str, Any], batch_size: Any) -> Any:
        """dict of (B, …) → (B, S) float32."""
        if not self.entries:
            return ops.zeros((batch_size, 1))
        flat = []
        for name, shape, _ in self.entries:
            part = ops.cast(state[name], "float32")
            flat.append(part if len(shape) == 1 else ops.reshape(part, (-1, math.prod(shape))))
        return ops.concatenate(flat, axis=1)

    def unpack(self, packed: Any) -> dict[str, Any]:
        """(B, S) float32 → dict of (B, …) in their own types."""
        if not self.entries:
            return {}
        sizes = [math.prod(entry.shape) for entry in self.entries]
        # Keras refuses a split without a split point.
        parts = ops.split(packed, np.cumsum(sizes)[:-1], axis=1) if len(sizes) > 1 else [packed]
        return {
            name: ops.cast(part if len(shape) == 1 else ops.reshape(part, (-1, *shape)), dtype)
            for (name, shape, dtype), part in zip(self.entries, parts, strict=True)
        }
