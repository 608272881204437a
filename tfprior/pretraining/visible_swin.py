"""A Swin over the visible units of images alone (Huang et al. 2022, arXiv:2205.13515).

A unit's tokens stand in the order in which they are merged: four neighbours side by side in every stage, so
that merging is a reshape. A unit of 4 × 4 tokens, which become 2 × 2, then one:

     0  2   8 10        0  2        0
     1  3   9 11        1  3
     4  6  12 14
     5  7  13 15

Shapes: B batch · H W C image · p side of a patch · U units of an image · V of them visible · T tokens of
these in a stage, a quarter as many in each · N places of the last map · D features.
"""

from typing import Any, NamedTuple

import numpy as np
from keras import ops

from tfprior.encoders.swin import Swin
from tfprior.layers.patches import map_size, patches_of
from tfprior.pretraining.grouping import Cells, Grouping, GroupSize, OverGroups, cheapest, grouped

SAMPLED = 64
"""Masks that groups are made large enough for."""


class Plan(NamedTuple):
    """One mask, and how visible tokens are grouped by it, as int32.

    Attributes:
        visible: numbers of the units that are (V,).
        hidden: 1 of the units that are (U,).
        ranks: which of the last stage's tokens, or of mask tokens behind these, each place has (N,).
        groupings: by stage, and there by shift.
    """

    visible: Any
    hidden: Any
    ranks: Any
    groupings: list[list[Grouping]]


class VisibleSwin:
    """Plans masks in NumPy, and runs a Swin by a plan.

    Args:
        swin: whose last map divides the units.
        unit_size: side of a unit in pixels.
        num_visible: V.
    """

    def __init__(self, swin: Swin, unit_size: int, num_visible: int) -> None:
        self.swin = swin
        self.unit_size = unit_size
        self.num_visible = num_visible
        self.unit_map = map_size(swin.image_shape[:2], unit_size)
        self.cells = merging_order(self.unit_map, swin.feature_size, len(swin.stages))  # each (U, T / V)
        self.windows = [
            list({block.windows.shift: block.windows for block in stage.blocks}.values())
            for stage in swin.stages
        ]
        noise = np.random.default_rng(0).random((SAMPLED, self.unit_map[0] * self.unit_map[1]))
        masks = [np.sort(row.argsort()[:num_visible]) for row in noise]
        self.sizes: list[list[GroupSize]] = [
            [
                cheapest(each, [self.visible_cells(stage, mask) for mask in masks], features)
                for each in windows
            ]
            for stage, windows, features in zip(
                range(len(self.windows)), self.windows, self._features, strict=True
            )
        ]

    @property
    def _features(self) -> list[int]:
        return [self.swin.hidden_dim << stage for stage in range(len(self.swin.stages))]

    def visible_cells(self, stage: int, visible: np.ndarray) -> Cells:
        """Of the visible units' tokens in a stage: (T,) each."""
        rows, columns = (cells[visible].reshape(-1) for cells in self.cells[stage])
        return rows, columns

    def plan(self, noise: np.ndarray, padded: bool = True) -> Plan:
        """The mask that noise (U,) makes; as many groups for every mask when padded.

        Raises:
            TooManyGroups: for a rare mask that needs more.
        """
        visible = np.sort(np.argsort(noise, kind="stable")[: self.num_visible]).astype("int32")
        hidden = np.ones(len(noise), "int32")
        hidden[visible] = 0
        rows, columns = self.visible_cells(-1, visible)
        places = rows * self.swin.feature_size[1] + columns
        num_places = self.swin.feature_size[0] * self.swin.feature_size[1]
        # Mask tokens are all the same: each hidden place has one of those behind the visible tokens.
        order = np.concatenate([places, np.setdiff1d(np.arange(num_places), places)])
        groupings = [
            [
                grouped(
                    windows,
                    self.visible_cells(stage, visible),
                    size.size,
                    size.num_groups if padded else None,
                )
                for windows, size in zip(self.windows[stage], self.sizes[stage], strict=True)
            ]
            for stage in range(len(self.windows))
        ]
        return Plan(visible, hidden, np.argsort(order).astype("int32"), groupings)

    def encode(self, images: Any, plan: Plan) -> Any:
        """Images (B, H, W, C) → features of what is visible (B, T of the last stage, D), normalized."""
        swin = self.swin
        tokens = swin.embedding_norm(swin.patches.project(self.patches(images, plan.visible)))
        x = swin.dropped(tokens)
        for stage, windows, groupings in zip(swin.stages, self.windows, plan.groupings, strict=True):
            by_shift = {each.shift: grouping for each, grouping in zip(windows, groupings, strict=True)}
            for block in stage.blocks:
                x = block.run(x, OverGroups(block, by_shift[block.windows.shift]))
            if stage.merging is not None:
                x = stage.merging.merge(ops.reshape(x, (-1, x.shape[1] // 4, 4 * x.shape[-1])))
        return swin.norm(x)

    def patches(self, images: Any, visible: Any) -> Any:
        """Images (B, H, W, C) → pixels of the visible units' patches (B, T, p · p · C)."""
        channels, side = images.shape[-1], self.unit_size
        units = ops.take(patches_of(images, side), visible, axis=1)  # (B, V, …)
        patches = patches_of(ops.reshape(units, (-1, side, side, channels)), self.swin.patch_size)
        rows, columns = (cells[0] for cells in self.cells[0])  # the first unit has those that all have
        order = (rows * (side // self.swin.patch_size) + columns).astype("int32")
        patches = ops.take(patches, order, axis=1)
        return ops.reshape(patches, (-1, self.num_visible * len(order), patches.shape[-1]))


def merging_order(unit_map: tuple[int, int], last_map: tuple[int, int], num_stages: int) -> list[Cells]:
    """Rows and columns of each unit's tokens (U, T / V) in all stages, the first one first."""
    side = last_map[0] // unit_map[0]
    rows, columns = (cells.reshape(-1) for cells in np.indices((side, side)))
    down, right = (unit.reshape(-1, 1) for unit in np.indices(unit_map))
    found = []
    for _ in range(num_stages):
        found.append((down * side + rows, right * side + columns))
        rows = (2 * rows[:, None] + np.array([0, 1, 0, 1])).reshape(-1)
        columns = (2 * columns[:, None] + np.array([0, 0, 1, 1])).reshape(-1)
        side *= 2
    return found[::-1]
