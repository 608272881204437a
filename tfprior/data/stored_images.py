"""Images that stay in their files."""

from collections.abc import Sequence

import numpy as np

from .levels import as_values, check_channels_last
from .mapped import MappedArray
from .stored import StoredArray

AT_ONCE = 4096


def stored_images(parts: Sequence[MappedArray], source: str, are_codes: bool = False) -> StoredArray:
    """Arrays (N, H, W) or (N, H, W, C) as images (N, H, W, C), all read once to see that they are.

    Raises:
        ValueError: for anything else.
    """
    highest = 0
    for part in parts:
        if not part.shape or not part.shape[0]:
            as_values(part.take(...), source)  # which refuses it
        for start in range(0, part.shape[0], AT_ONCE):
            values = as_values(part.read(start, start + AT_ONCE), source)
            if not are_codes:
                check_channels_last(values, source)
            highest = max(highest, int(values.max()))
    bytes_alone = all(part.header.dtype in (np.uint8, np.bool_) for part in parts)
    return StoredArray(
        [part if len(part.shape) == 4 else part.with_channel() for part in parts],
        highest,
        dtype=np.uint8 if bytes_alone else np.int32,
    )
