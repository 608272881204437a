"""A state of many tensors as one: what a caller in any language hands from step to step."""

import math
from itertools import accumulate
from typing import Any

import keras
from keras import ops


class Packing:
    """Packs the tensors of a state into one (B, S) float32 tensor, in the order of its specifications.

    Integers up to 2^24 and all 16-bit floats pass through unchanged. A state without tensors packs into one
    zero, since no runtime likes a tensor of size zero.

    Args:
        specs: of the tensors, alone or in dicts.
    """

    def __init__(self, specs: Any) -> None:
        self.structure = specs
        self.specs = keras.tree.flatten(specs)
        self.sizes = [math.prod(spec.shape) for spec in self.specs]
        self.size = sum(self.sizes) or 1

    def pack(self, state: Any, batch_size: Any) -> Any:
        """Tensors (B, …) → (B, S) float32."""
        if not self.specs:
            return ops.zeros((batch_size, 1))
        flat = []
        for spec, part in zip(self.specs, keras.tree.flatten(state), strict=True):
            part = ops.cast(part, "float32")
            flat.append(part if len(spec.shape) == 1 else ops.reshape(part, (-1, math.prod(spec.shape))))
        return ops.concatenate(flat, axis=1)

    def unpack(self, packed: Any) -> Any:
        """(B, S) float32 → tensors (B, …) in their own types."""
        if not self.specs:
            return self.structure
        # `ops.split` computes the sizes in the graph, which LiteRT has no operator for.
        ends = accumulate(self.sizes)
        parts = [packed[:, end - size : end] for size, end in zip(self.sizes, ends, strict=True)]
        shaped = [
            ops.cast(part if len(spec.shape) == 1 else ops.reshape(part, (-1, *spec.shape)), spec.dtype)
            for spec, part in zip(self.specs, parts, strict=True)
        ]
        return keras.tree.pack_sequence_as(self.structure, shaped)
