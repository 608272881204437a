"""Which parts of images are hidden, as functions of noise.

    noise    .7 .1 .9 .4        one number for each unit
    rank      2  0  3  1        the lowest come first: of 4 with ratio 0.5 two are visible
    hidden    ✓  ·  ✓  ·

Shapes: B batch · N rows · V of them that are taken · D features · U units, hidden or visible as a whole.
"""

import math
from typing import Any

from keras import ops

from tfprior.inputs import is_number


def num_hidden(count: int, mask_ratio: float) -> int:
    """How many of so many units are hidden: ⌈ratio · units⌉.

    Raises:
        ValueError: for a ratio that leaves nothing visible, or nothing hidden.
    """
    if not is_number(mask_ratio) or not 0 < mask_ratio < 1:
        raise ValueError(f"Got mask_ratio={mask_ratio!r}; expected a number between 0 and 1, such as 0.75.")
    hidden = math.ceil(count * mask_ratio - 1e-9)
    if hidden == count:
        raise ValueError(
            f"mask_ratio={mask_ratio} hides all {count} units of an image; expected some that are visible: "
            "lower the ratio, or take smaller units or larger images."
        )
    return hidden


def ranks_of(noise: Any) -> Any:
    """Noise (B, U) → where each unit comes when they are sorted by it (B, U) int32."""
    return ops.cast(ops.argsort(ops.argsort(noise, axis=-1), axis=-1), "int32")


def rows_at(x: Any, index: Any) -> Any:
    """Rows of each example: x (B, N, D) at index (B, V) → (B, V, D)."""
    count, length = ops.shape(x)[0], ops.shape(x)[1]
    first = ops.arange(count, dtype="int32")[:, None] * length
    flat = ops.reshape(x, (-1, x.shape[-1]))
    return ops.take(flat, ops.cast(index, "int32") + first, axis=0)
