"""A tensor in parts along one axis, by slices whose ends are written down."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any


def in_parts(x: Any, sizes: Iterable[int], axis: int) -> list[Any]:
    """Parts of these sizes, of (…, sum of sizes, …), the axis counted from the front.

    `ops.split` computes the sizes in the graph, which LiteRT has no operator for.
    """
    sizes = list(sizes)
    before = (slice(None),) * axis
    return [x[(*before, slice(end - size, end))] for size, end in zip(sizes, accumulate(sizes), strict=True)]
