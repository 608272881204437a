"""Visible tokens of windows in groups of one size, planned in NumPy (Huang et al. 2022, arXiv:2205.13515).

    windows      a a a a a   b   c c c   d d   e e e e     visible tokens of each, from none to all
    groups       a a a a a b | c c c d d · | e e e e · ·   of 6; tokens see those of their own window alone

Windows stay whole. A group takes those that fill it best, the next one those that fill it best of the rest.

Shapes: T visible tokens · G groups · g tokens of a group, some of them padding.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfprior.layers.key_value_cache import HIDDEN
from tfprior.layers.swin_block import SwinBlock
from tfprior.layers.windows import Windows, relative_positions

Cells = tuple[np.ndarray, np.ndarray]
"""Rows and columns on a map of tokens (T,)."""


class Grouping(NamedTuple):
    """Where visible tokens go for attention, and come from after it, as int32.

    Attributes:
        tokens: in each slot of the groups (G, g); padding repeats the first one.
        windows: that they are in (G, g); −1 of padding.
        rows, columns: where they stand in their windows (G, g).
        slots: of each token (T,), groups one after the other.
    """

    tokens: Any
    windows: Any
    rows: Any
    columns: Any
    slots: Any


class GroupSize(NamedTuple):
    """How many groups there are, and how many tokens each of them holds."""

    num_groups: int
    size: int


class TooManyGroups(ValueError):
    """Raised for a mask whose visible tokens need more groups than there are."""


def grouped(windows: Windows, cells: Cells, size: int, count: int | None = None) -> Grouping:
    """Visible cells in groups of a size, padded to so many groups; as many as it takes when left out.

    Raises:
        TooManyGroups: where these are more.
    """
    _, window, sizes = np.unique(windows.window_of(*cells), return_inverse=True, return_counts=True)
    by_window = np.split(np.argsort(window, kind="stable"), np.cumsum(sizes)[:-1])
    groups = knapsacks(sizes.tolist(), size)
    count = len(groups) if count is None else count
    if len(groups) > count:
        raise TooManyGroups(f"The visible tokens need {len(groups)} groups of {size}; there are {count}.")
    tokens, padded = np.zeros((count, size), "int32"), np.ones((count, size), bool)
    for index, group in enumerate(groups):
        members = np.concatenate([by_window[number] for number in group])
        tokens[index, : len(members)], padded[index, : len(members)] = members, False
    slots = np.zeros(len(window), "int32")
    slots[tokens[~padded]] = np.flatnonzero(~padded)
    rows, columns = (cells[tokens] for cells in windows.place_of(*cells))
    grouping = Grouping(tokens, np.where(padded, -1, window[tokens]), rows, columns, slots)
    return Grouping(*(part.astype("int32") for part in grouping))


def knapsacks(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Which of the sizes go together: the fullest knapsack, then the fullest of what is left, and so on."""
    left, found = list(range(len(sizes))), []
    while left:
        chosen = fullest([sizes[index] for index in left], capacity)
        found.append([left[place] for place in chosen])
        left = [index for place, index in enumerate(left) if place not in chosen]
    return found


def fullest(sizes: Sequence[int], capacity: int) -> set[int]:
    """0/1 knapsack by dynamic programming: places of the sizes whose sum comes nearest to the capacity.

    Bit s of `reached[i]` tells whether some of the first i sizes add up to s.
    """
    reached, within = [1], (1 << capacity + 1) - 1
    for size in sizes:
        reached.append((reached[-1] | reached[-1] << size) & within)
    total, chosen = reached[-1].bit_length() - 1, set()
    for place in reversed(range(len(sizes))):
        if not reached[place] >> total & 1:  # not without this one
            chosen.add(place)
            total -= sizes[place]
    return chosen


def cheapest(windows: Windows, masks: Sequence[Cells], features: int) -> GroupSize:
    """The groups, large enough for all of these masks, that attention of so many features costs least in.

    A group's size is at least that of a window that is visible as a whole: any mask can be grouped by it.
    """
    length = len(masks[0][0])
    least = max(min(windows.side**2, length), 2)  # Keras takes a softmax over one for a mistake
    found = []
    for size in range(least, max(min(3 * least, length), least) + 1, max(least // 4, 1)):
        count = max(len(grouped(windows, cells, size).tokens) for cells in masks)
        cost = count * size * (2 * features + size)  # of projections and scores, by the paper's formula
        found.append((cost, GroupSize(count, size)))
    return min(found)[1]


class OverGroups:
    """Applies attention of a block to groups of tokens, each of which sees its own window alone."""

    def __init__(self, block: SwinBlock, grouping: Grouping) -> None:
        self.grouping = grouping
        index = relative_positions(grouping.rows, grouping.columns, block.window_size)  # (G, g, g)
        windows = grouping.windows
        is_seen = (windows[:, :, None] == windows[:, None, :])[:, None]
        bias = ops.cast(block.position_bias.of(index), "float32")
        self.bias = bias + ops.where(is_seen, np.float32(0), HIDDEN)  # (G, h, g, g)

    def __call__(self, attention: Any, x: Any) -> Any:
        """(B, T, D) → (B, T, D)."""
        groups = ops.take(x, self.grouping.tokens, axis=1)  # (B, G, g, D)
        seen = attention(groups, bias=self.bias)
        count, size = self.grouping.tokens.shape
        return ops.take(ops.reshape(seen, (-1, count * size, x.shape[-1])), self.grouping.slots, axis=1)
