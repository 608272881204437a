"""Two streams of stages, a row or a pixel at a time.

The down stream sees rows, the down-right stream the pixels to the left too. So for each row the down stream
runs once, and what it gives to the other one is handed to the pixels of the row as links.

Shapes: B batch · H W C grid · E encoded channels · F filters · P parameters of a pixel · R features of a row.
"""

import abc
from typing import Any

from keras import ops

from tfprior.distributions.base import Tensor
from tfprior.layers.gated_resnet import Features, GatedResNet
from tfprior.layers.row_links import RowLink, RowLinks
from tfprior.layers.shifted_conv import ShiftedConv2D, shift_right
from tfprior.layers.stage import Links, Stage, Step, Stepping, of_all_stages
from tfprior.layers.streaming import Apply, State, StateSpec, Stream, over_image, select, where
from tfprior.priors.condition_maps import pooled_row
from tfprior.priors.raster import RasterPrior


class TwoStreams(RasterPrior):
    """A raster prior of a down stream and a down-right stream, of equal stages.

    Attributes:
        filters: features of each stream, F.
        rows_above: the entry of the down stream, which looks at the rows above.
        row_above: the entry of the down-right stream that looks at the row above.
        pixel_left: the one that looks at the pixel to the left.
        down: the highest stage of the down stream.
        right: that of the down-right stream.
    """

    filters: int
    rows_above: ShiftedConv2D
    row_above: ShiftedConv2D
    pixel_left: ShiftedConv2D
    down: Stage
    right: Stage

    @abc.abstractmethod
    def output(self, h: Tensor, x: Tensor, apply: Apply) -> Tensor:
        """Features (…, F), and the pixels' own encoded values (…, E) → parameters (…, P)."""

    def pair_streams(self) -> None:
        """Finds for each block and stage of the down stream the one at the same place of the other."""
        self.partners = {}
        links = [RowLink("entry", self.filters, 1)]
        for down, right in zip(self.down.stages(), self.right.stages(), strict=True):
            self.partners[down.name] = right
            self.partners.update(
                {block.name: partner for block, partner in zip(down.blocks, right.blocks, strict=True)}
            )
            links += [RowLink(conv.name, conv.filters, right.scale * conv.strides) for conv in right.convs]
            links += [] if right.grow is None else [RowLink(right.grow.name, self.filters, right.scale)]
        self.row_links = RowLinks(links)

    # A row, then its pixels

    def row(
        self, state: State, finished: Tensor, condition: Tensor | None, y: Tensor
    ) -> tuple[State, Tensor]:
        x = self.encode(finished)  # (B, W, E)
        # Above the image there is padding, not what the network makes of padding.
        _, over_finished = self._right_over_row(state, x, ops.maximum(y - 1, 0))
        state = {**state, "right": where(y > 0, over_finished, state["right"])}
        state = {**state, **self._down_over_row(state, x, condition, y)}
        return state, self.row_links.spread(self._links_of_row(state, y), self.grid_shape[1])

    def _down_over_row(self, state: State, x: Tensor, condition: Tensor | None, y: Tensor) -> State:
        """The down stream at row y, from row y − 1 (B, W, E), and what the down-right stream sees above."""
        above = of_all_stages(state["right"], "convs")
        inside = ops.cast(ops.reshape(y > 0, (-1, 1, 1)), self.compute_dtype)

        def at_row(u: Features) -> Tensor | None:
            return pooled_row(condition, self.grid_shape[1] // u.x.shape[1], y)

        def join(block: GatedResNet, u: Features) -> Links:
            return block.links(None, at_row(u), over_image)

        def publish(block: GatedResNet, u: Features) -> Links:
            partner = self.partners[block.name]
            links = partner.links(u, at_row(u), over_image)
            convs = (partner.conv, partner.gates)
            return {conv.name: conv.above(above[conv.name]) + links.get(conv.name, 0.0) for conv in convs}

        def publish_shrink(stage: Stage) -> Links:
            conv = self.partners[stage.name].shrink
            return {conv.name: conv.above(above[conv.name])}

        entry = Stream(state["entry_convs"], "row_step")
        by_row = self._by_row("row_step", y, {}, join, publish, publish_shrink)
        down = Step(state["down"], by_row)
        self.down.run(inside * entry(self.rows_above, x), down)
        left = self.pixel_left.above(x[:, None])
        link = inside * entry(self.row_above, x) + shift_right(left)
        return {"entry_convs": entry.after, "entry": link, "down": down.after}

    def _right_over_row(self, state: State, x: Tensor, y: Tensor) -> tuple[Tensor, State]:
        """The down-right stream over all of row y → features (B, W, F), and its state for the next."""
        links = of_all_stages(state["down"], "links")
        right = Step(state["right"], self._by_row("own_row", y, links))
        h = shift_right(self.pixel_left.own_row(x, None)[0]) + state["entry"]
        return self.right.run(h, right), right.after

    def _by_row(self, step: Any, y: Tensor, links: Links, *others: Any) -> Stepping:
        """A stage below runs at even rows, and gives two."""
        return Stepping(
            step,
            lambda scale: y // scale % 2 == 0,
            lambda grow, below: grow.two_rows(below),
            lambda stage, two: select(two, y // stage.scale % 2),
            links,
            *others,
        )

    def _links_of_row(self, state: State, y: Tensor) -> Links:
        """Everything that joins the layers of the down-right stream at row y."""
        links, right = {"entry": state["entry"], **of_all_stages(state["down"], "links")}, state["right"]
        for stage in self.right.stages():
            if stage.below is not None:
                # Under a row at which the stage below ran stands the second row that it gave.
                right = right["below"]
                second = ops.cast(ops.reshape(y // stage.scale % 2, (-1, 1, 1)), self.compute_dtype)
                links[stage.grow.name] = second * right["held"][:, 1]
        return links

    def row_params(self, state: State, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        x = self.encode(values)
        return self.output(self._right_over_row(state, x, y)[0], x, over_image)

    def pixel(self, state: State, features: Tensor, values: Tensor, position: Tensor) -> tuple[Tensor, State]:
        links = self.row_links.of_pixel(features)
        y, x = position // self.grid_shape[1], position % self.grid_shape[1]
        own = left = self.encode(values)  # (B, E)
        after: State = {}
        if self.channel_groups > 1:
            left, after["own"] = state["own"], own

        def current(stage: Stage, two: Tensor) -> Tensor:
            is_first = (x // stage.scale % 2 == 0)[:, None]
            mine = ops.where(is_first, two[:, : self.filters], two[:, self.filters :])
            return mine + links[stage.grow.name]

        # A stage below runs at even pixels of even rows, and gives two.
        by_pixel = Stepping(
            "pixel_step",
            lambda scale: (y // scale % 2 == 0) & (x // scale % 2 == 0),
            lambda grow, below: grow.two_pixels(below),
            current,
            links,
        )
        entry, right = Stream(state["entry_convs"], "pixel_step"), Step(state["right"], by_pixel)
        inside = ops.cast(x[:, None] > 0, self.compute_dtype)
        h = self.right.run(inside * entry(self.pixel_left, left) + links["entry"], right)
        after.update(entry_convs=entry.after, right=right.after)
        return self.output(h, own, over_image), after

    def row_spec(self) -> State:
        width, dtype = self.grid_shape[1], self.compute_dtype

        def conv(layer: ShiftedConv2D, scale: int) -> StateSpec | None:
            return layer.row_spec(width // scale)

        def held(scale: int) -> StateSpec:
            return StateSpec((2, width // scale, self.filters), dtype)

        def links(stage: Stage) -> State:
            right = self.partners[stage.name]
            return {
                layer.name: StateSpec((width // (stage.scale * layer.strides), layer.filters), dtype)
                for layer in right.convs
            }

        return {
            "entry_convs": {self.rows_above.name: self.rows_above.row_spec(width)},
            "entry": StateSpec((width, self.filters), dtype),
            "down": self.down.spec(conv, held, links),
            "right": self.right.spec(conv, held),
        }

    def pixel_spec(self) -> State:
        def held(scale: int) -> StateSpec:
            return StateSpec((2 * self.filters,), self.compute_dtype)

        spec: State = {
            "entry_convs": {},
            "right": self.right.spec(lambda conv, scale: conv.pixel_spec(), held),
        }
        if self.channel_groups > 1:
            spec["own"] = StateSpec((self.encode.num_features(self.grid_shape[2]),), self.compute_dtype)
        return spec

    @property
    def num_features(self) -> int:
        return self.row_links.num_features
