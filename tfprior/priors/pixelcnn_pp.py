"""PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517).

Shapes: B batch · H W C grid · E encoded channels · F filters · P parameters of a pixel.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.distributions.base import OutputDistribution, Tensor
from tfprior.inputs import check_sizes
from tfprior.layers.gated_resnet import Features, GatedResNet
from tfprior.layers.masked_dense import MaskedDense
from tfprior.layers.shifted_conv import (
    Direction,
    ShiftedConv2D,
    ShiftedConv2DTranspose,
    moved_down,
    moved_right,
    shift_right,
)
from tfprior.layers.streaming import Apply, State, Stream, joined, whole
from tfprior.layers.weight_norm import WeightNormalized, WeightNormDense, initialize
from tfprior.priors.raster import RasterPrior, refresh, select, where

RunBlock = Callable[[GatedResNet, Features, Features | None], Features]
Descend = Callable[["Stage", Tensor, RunBlock], Tensor]
Shapes = dict[str, tuple[int, ...]]


class Stage(keras.layers.Layer):
    """One resolution of a stream, with the stage below it inside.

        x ─ block ─ … ─ block ── shrink ─ below ─ grow ── block ─ … ─ block ─ x'
        └─────┴───────────┴────────── short-cuts ───────────┴───────────┘

    The lowest stage goes straight from its encoder to its decoder. `scale` is how many pixels of the grid one
    position stands for, along each axis.
    """

    def __init__(
        self,
        stream: str,
        direction: Direction,
        filters: int,
        num_layers: int,
        num_stages: int,
        dropout: float,
        weight_norm: bool,
        scale: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=f"{stream}_{scale}", **kwargs)
        self.scale = scale
        given = {"weight_norm": weight_norm, "dtype": self.dtype_policy}

        def block(side: str, index: int) -> GatedResNet:
            return GatedResNet(
                filters,
                direction,
                takes_down=direction == "down_right",
                takes_shortcut=side == "decoder",
                dropout=dropout,
                name=f"{self.name}_{side}_{index}",
                **given,
            )

        self.encoder = [block("encoder", index) for index in range(num_layers)]
        self.decoder = [block("decoder", index) for index in range(num_layers + (num_stages > 1))]
        self.shrink: Any = None
        self.below: Any = None
        self.grow: Any = None
        if num_stages > 1:
            size = (2, 3) if direction == "down" else (2, 2)
            self.shrink = ShiftedConv2D(filters, size, direction, 2, name=f"{self.name}_shrink", **given)
            self.grow = ShiftedConv2DTranspose(filters, direction, name=f"{self.name}_grow", **given)
            self.below = Stage(
                stream,
                direction,
                filters,
                num_layers,
                num_stages - 1,
                dropout,
                weight_norm,
                2 * scale,
                dtype=self.dtype_policy,
            )

    def build(self, input_shape: tuple[Any, ...], condition: tuple[Any, ...] | None = None) -> None:
        for block in (*self.encoder, *self.decoder):
            others = (block.takes_down + block.takes_shortcut) * [input_shape]
            block.build([input_shape, *others, *([] if condition is None else [condition])])
        if self.below is not None:
            for layer in (self.shrink, self.grow):
                layer.build(input_shape)
            self.below.build(input_shape, condition)
        self.built = True

    def run(self, x: Tensor, run_block: RunBlock, descend: Descend) -> Tensor:
        """Features (…, F) → features (…, F)."""
        features = Features.of(x)
        shortcuts = [features]
        for block in self.encoder:
            features = run_block(block, features, None)
            shortcuts.append(features)
        if self.below is None:
            features = shortcuts.pop()
        else:
            features = Features.of(descend(self, features.x, run_block))
        for block in self.decoder:
            features = run_block(block, features, shortcuts.pop())
        return features.x

    def stages(self) -> Iterator["Stage"]:
        """This stage and those below."""
        yield self
        if self.below is not None:
            yield from self.below.stages()

    def convs(self) -> Iterator[tuple[ShiftedConv2D, int]]:
        """Every layer here and below that looks at other positions, and its inputs' scale."""
        for stage in self.stages():
            for block in (*stage.encoder, *stage.decoder):
                yield from ((block.conv, stage.scale), (block.gates, stage.scale))
            if stage.shrink is not None:
                yield stage.shrink, stage.scale

    def grows(self) -> Iterator[tuple[ShiftedConv2DTranspose, int]]:
        """Every way back from a stage below, and its outputs' scale."""
        return ((stage.grow, stage.scale) for stage in self.stages() if stage.grow is not None)


@keras.saving.register_keras_serializable("tfprior")
class PixelCNNPP(RasterPrior):
    """Two streams of shifted convolutions over three resolutions, with short-cuts.

        values ── 2×3 ── shift down ──────────────────── stages of the down stream
             │                                               │   1×1, block by block
             ├─── 1×3 ── shift down ──┐                      ▼
             └─── 2×1 ── shift right ─+── stages of the down-right stream ── elu ── 1×1 ── parameters

    The kernels are weight-normalized; `initialize`, which `fit` does by itself on a first batch (from arrays,
    examples from all over them), sets their scales and biases from data.

    Args:
        grid_shape: (H, W, C) of the values; H and W divisible by 2^(num_stages − 1).
        distribution: the output distribution, in the paper a `DiscretizedLogisticMixture`. Two more 1×1
            layers order the channels of a `Categorical`.
        filters: features of each stream, F.
        num_layers: gated blocks on the way down through a stage; one more on the way up where a stage has
            another below it.
        num_stages: resolutions, each half the one above.
        dropout: rate, inside the blocks.
        num_classes: for class labels (B,) as the condition.
        condition_shape: (D,) for vectors, (H, W, D) for spatial maps as the condition.
        value_embedding_dim: learned embedding of each value, for codes; None reads values as scaled numbers.
        class_embedding_dim: size of the class embedding.
        weight_norm: False for plain kernels.

    Raises:
        ValueError: for options out of range, or a grid that does not halve as often as there are stages.
    """

    def __init__(
        self,
        grid_shape: tuple[int, int, int],
        distribution: OutputDistribution,
        filters: int = 160,
        num_layers: int = 5,
        num_stages: int = 3,
        dropout: float = 0.5,
        num_classes: int | None = None,
        condition_shape: tuple[int, ...] | None = None,
        value_embedding_dim: int | None = None,
        class_embedding_dim: int = 64,
        weight_norm: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid_shape,
            distribution,
            num_classes,
            condition_shape,
            value_embedding_dim,
            class_embedding_dim,
            **kwargs,
        )
        height, width, channels = self.grid_shape
        check_sizes("PixelCNNPP", filters=filters, num_layers=num_layers, num_stages=num_stages)
        stride = 2 ** (num_stages - 1)
        if height % stride or width % stride:
            raise ValueError(
                f"PixelCNNPP got a grid of {height} × {width} for num_stages={num_stages}; expected height "
                f"and width divisible by {stride}: crop or pad the images, or use fewer stages."
            )
        self.filters = filters
        self.num_layers = num_layers
        self.num_stages = num_stages
        self.dropout = dropout
        self.weight_norm = weight_norm

        given = {"weight_norm": weight_norm, "dtype": self.dtype_policy}
        stages = (filters, num_layers, num_stages, dropout, weight_norm)
        self.rows_above = ShiftedConv2D(filters, (2, 3), "down", name="rows_above", **given)
        self.row_above = ShiftedConv2D(filters, (1, 3), "down", name="row_above", **given)
        self.pixel_left = ShiftedConv2D(filters, (2, 1), "down_right", name="pixel_left", **given)
        self.down = Stage("down", "down", *stages, dtype=self.dtype_policy)
        self.right = Stage("right", "down_right", *stages, dtype=self.dtype_policy)
        num_params = distribution.num_params(channels)
        if self.channel_groups == 1:
            self.head: Any = WeightNormDense(num_params, **given)
        else:
            hidden = channels * filters
            self.hidden = WeightNormDense(hidden, **given)
            self.channels_before = MaskedDense(hidden, "A", channels, use_bias=False, dtype=self.dtype_policy)
            self.head = MaskedDense(num_params, "B", channels, dtype=self.dtype_policy)
        self.build()

    def build_network(self, features: int, condition: tuple[Any, ...] | None) -> None:
        x, h = ((None, *self.grid_shape[:2], size) for size in (features, self.filters))
        for layer in (self.rows_above, self.row_above, self.pixel_left):
            layer.build(x)
        for stream in (self.down, self.right):
            stream.build(h, condition)
        if self.channel_groups > 1:
            self.hidden.build(h)
            self.channels_before.build(x)
            h = (*h[:-1], self.hidden.filters)
        self.head.build(h)
        # What a layer of the down stream sees joins the layer at the same place of the down-right stream.
        self._partners = {}
        for down, right in zip(self.down.stages(), self.right.stages(), strict=True):
            blocks = zip((*down.encoder, *down.decoder), (*right.encoder, *right.decoder), strict=True)
            self._partners.update({block.name: partner for block, partner in blocks})
            self._partners[down.name] = right
        # What a row hands to its pixels: name, size, and for how many pixels side by side it is the same.
        links = [("entry", self.filters, 1)]
        links += [(layer.name, layer.filters, scale * layer.strides) for layer, scale in self.right.convs()]
        links += [(layer.name, layer.filters, scale) for layer, scale in self.right.grows()]
        self._links = sorted(links, key=lambda link: link[2])

    # The whole image

    def call(self, inputs: Any, training: bool = False) -> Tensor:
        return self.network(inputs, whole, training)

    def network(self, inputs: Any, apply: Apply, training: bool = False) -> Tensor:
        """Values, with or without a condition → parameters (B, H, W, P); every layer run by `apply`."""
        values, condition = self.unpack(inputs)
        condition = self.encode_condition(condition)
        x = self.encode(values)  # (B, H, W, E)
        links: dict[str, Tensor] = {}

        def run_down(block: GatedResNet, u: Features, shortcut: Features | None) -> Features:
            at_scale = pool(condition, u.x.shape[1:3])
            u = block.run(u, shortcut, joined(apply, block.links(None, at_scale, apply)), training)
            links.update(self._partners[block.name].links(u, at_scale, apply))
            return u

        def run_right(block: GatedResNet, h: Features, shortcut: Features | None) -> Features:
            return block.run(h, shortcut, joined(apply, links), training)

        def descend(stage: Stage, x: Tensor, run_block: RunBlock) -> Tensor:
            return apply(stage.grow, stage.below.run(apply(stage.shrink, x), run_block, descend))

        self.down.run(moved_down(apply, self.rows_above, x), run_down, descend)
        h = moved_down(apply, self.row_above, x) + moved_right(apply, self.pixel_left, x)
        return self.output(self.right.run(h, run_right, descend), x, apply)

    def output(self, h: Tensor, x: Tensor, apply: Apply) -> Tensor:
        """Features (…, F), and the pixels' own encoded values (…, E) → parameters (…, P)."""
        if self.channel_groups == 1:
            return apply(self.head, ops.elu(h))
        return self.head(ops.elu(apply(self.hidden, ops.elu(h)) + self.channels_before(x)))

    def initialize(self, inputs: Any) -> None:
        """Sets the scales and biases of all layers so that their outputs over a batch are normalized.

        The batch is what `fit` takes: values, or a dict of values and condition.

        Raises:
            ValueError: for an empty batch, or one of the wrong shape, type or range.
        """
        self.network(self.checked_batch(inputs), initialize)

    @property
    def needs_initialization(self) -> bool:
        """Whether no bias has moved: neither from data, nor in training, nor by loading weights."""
        biases = (each.bias for each in self._flatten_layers() if isinstance(each, WeightNormalized))
        return not any(ops.convert_to_numpy(bias).any() for bias in biases)

    def without_weight_norm(self) -> "PixelCNNPP":
        """A copy with plain kernels, which computes the same with less work."""
        plain = type(self).from_config({**self.get_config(), "weight_norm": False})
        copy_weights(self, plain)
        return plain

    def for_sampling(self) -> "PixelCNNPP":
        """The copy with plain kernels, kept so that what was compiled for it serves again."""
        if not self.weight_norm:
            return self
        if self in _PLAIN:
            copy_weights(self, _PLAIN[self])
        else:
            _PLAIN[self] = self.without_weight_norm()
        return _PLAIN[self]

    # A row, then its pixels. A stage below runs at every second one only; in between stands what it gave.

    def row(
        self, state: State, finished: Tensor, condition: Tensor | None, y: Tensor
    ) -> tuple[State, Tensor]:
        x = self.encode(finished)  # (B, W, E)
        # Above the image there is padding, not what the network makes of padding.
        _, finished_states = self._whole_row(state, x, ops.maximum(y - 1, 0))
        above = where(y > 0, finished_states, state)
        begun = {**above, **self._begin_row({**state, **above}, x, condition, y)}
        return begun, self._features(begun, y)

    def row_params(self, state: State, features: Tensor, values: Tensor, y: Tensor) -> Tensor:
        x = self.encode(values)
        return self.output(self._whole_row(state, x, y)[0], x, whole)

    def _whole_row(self, state: State, x: Tensor, y: Tensor) -> tuple[Tensor, State]:
        """The down-right stream over the whole of row y → features (B, W, F), states for the row after it."""
        stream = Stream(state, "own_row", "above_")
        apply = joined(stream, {name.removeprefix("link_"): link for name, link in state.items()})

        def run_right(block: GatedResNet, h: Features, shortcut: Features | None) -> Features:
            return block.run(h, shortcut, apply)

        def descend(stage: Stage, h: Tensor, run_block: RunBlock) -> Tensor:
            h = apply(stage.shrink, h)
            names = [*states_of(stage.below, "above", "rows"), f"rows_{stage.grow.name}"]
            return descend_by_row(stage, y, stream, names, lambda: stage.below.run(h, run_block, descend))

        h = shift_right(self.pixel_left.own_row(x, None)[0]) + state["link_entry"]
        return self.right.run(h, run_right, descend), stream.after

    def _begin_row(self, state: State, x: Tensor, condition: Tensor | None, y: Tensor) -> State:
        """The down stream at row y, from row y − 1: its own state, and links to the down-right stream."""
        stream = Stream(state, "row_step", "above_")
        inside = ops.cast(ops.reshape(y > 0, (-1, 1, 1)), self.compute_dtype)

        def link(layer: ShiftedConv2D, joins: Tensor | float = 0.0) -> None:
            stream.after[f"link_{layer.name}"] = layer.above(state[f"above_{layer.name}"]) + joins

        def run_down(block: GatedResNet, u: Features, shortcut: Features | None) -> Features:
            at_row = pool_row(condition, self.grid_shape[1] // u.x.shape[1], y)
            u = block.run(u, shortcut, joined(stream, block.links(None, at_row, stream)))
            partner = self._partners[block.name]
            links = partner.links(u, at_row, stream)
            for layer in (partner.conv, partner.gates):
                link(layer, links.get(layer.name, 0.0))
            return u

        def descend(stage: Stage, u: Tensor, run_block: RunBlock) -> Tensor:
            right = self._partners[stage.name]
            link(right.shrink)
            u = stream(stage.shrink, u)
            names = [*states_of(stage.below, "above", "rows"), f"rows_{stage.grow.name}"]
            names += [f"link_{layer.name}" for layer, _ in right.below.convs()]
            return descend_by_row(stage, y, stream, names, lambda: stage.below.run(u, run_block, descend))

        self.down.run(inside * stream(self.rows_above, x), run_down, descend)
        left = self.pixel_left.above(x[:, None])
        stream.after["link_entry"] = inside * stream(self.row_above, x) + shift_right(left)
        return stream.after

    def _features(self, state: State, y: Tensor) -> Tensor:
        """Everything that row y hands to its pixels: (B, W, R)."""
        links = {name.removeprefix("link_"): link for name, link in state.items()}
        for layer, scale in self.right.grows():
            # Under a row at which the stage below ran stands the second row that it gave.
            two = state[f"rows_{layer.name}"]
            second = ops.cast(ops.reshape(y // scale % 2, (-1, 1, 1)), self.compute_dtype)
            links[layer.name] = second * two[:, 1]
        width = self.grid_shape[1]
        parts = []
        for span in sorted({span for *_, span in self._links}):
            part = ops.concatenate([links[name] for name, _, its in self._links if its == span], axis=2)
            repeated = ops.concatenate([part[:, :, None]] * span, axis=2)
            parts.append(ops.reshape(repeated, (-1, width, part.shape[2])))
        return ops.concatenate(parts, axis=2)

    def pixel(self, state: State, features: Tensor, values: Tensor, position: Tensor) -> tuple[Tensor, State]:
        stream = Stream(state, "pixel_step", "left_")
        parts = ops.split(features, np.cumsum([size for _, size, _ in self._links])[:-1], axis=1)
        links = {name: part for (name, *_), part in zip(self._links, parts, strict=True)}
        apply = joined(stream, links)
        y, x = position // self.grid_shape[1], position % self.grid_shape[1]

        def run_right(block: GatedResNet, h: Features, shortcut: Features | None) -> Features:
            return block.run(h, shortcut, apply)

        def descend(stage: Stage, h: Tensor, run_block: RunBlock) -> Tensor:
            h = apply(stage.shrink, h)
            held = f"pixels_{stage.grow.name}"
            names = [*states_of(stage.below, "left", "pixels"), held]

            def run() -> State:
                stream.after[held] = stage.grow.two_pixels(stage.below.run(h, run_block, descend))
                return {name: stream.after.pop(name) for name in names}

            row, column = y // stage.scale % 2, x // stage.scale % 2
            stream.after.update(refresh((row == 0) & (column == 0), run, stream.before, names))
            two = stream.after[held]
            mine = ops.where(column[:, None] == 0, two[:, : self.filters], two[:, self.filters :])
            return mine + links[stage.grow.name]

        own = left = self.encode(values)  # (B, E)
        if self.channel_groups > 1:
            left, stream.after["left_values"] = state["left_values"], own
        inside = ops.cast(x[:, None] > 0, self.compute_dtype)
        h = inside * stream(self.pixel_left, left) + links["entry"]
        return self.output(self.right.run(h, run_right, descend), own, whole), stream.after

    def row_state(self, batch_size: Any) -> State:
        width, filters = self.grid_shape[1], self.filters
        states = {"above_rows_above": self.rows_above.row_state(batch_size, width)}
        for stream in (self.down, self.right):
            for layer, scale in stream.convs():
                states[f"above_{layer.name}"] = layer.row_state(batch_size, width // scale)
            for grow, scale in stream.grows():
                shape = (batch_size, 2, width // scale, filters)
                states[f"rows_{grow.name}"] = ops.zeros(shape, self.compute_dtype)
        grows = [grow.name for grow, _ in self.right.grows()]
        for name, size, span in self._links:
            if name not in grows:
                states[f"link_{name}"] = ops.zeros((batch_size, width // span, size), self.compute_dtype)
        return states

    def pixel_state(self, batch_size: Any) -> State:
        states = {f"left_{layer.name}": layer.pixel_state(batch_size) for layer, _ in self.right.convs()}
        for grow, _ in self.right.grows():
            states[f"pixels_{grow.name}"] = ops.zeros((batch_size, 2 * self.filters), self.compute_dtype)
        if self.channel_groups > 1:
            encoded = self.encode.num_features(self.grid_shape[2])
            states["left_values"] = ops.zeros((batch_size, encoded), self.compute_dtype)
        return states

    @property
    def num_features(self) -> int:
        return sum(size for _, size, _ in self._links)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "filters": self.filters,
            "num_layers": self.num_layers,
            "num_stages": self.num_stages,
            "dropout": self.dropout,
            "weight_norm": self.weight_norm,
        }


def descend_by_row(
    stage: Stage, y: Tensor, stream: Stream, names: list[str], run_below: Callable[[], Tensor]
) -> Tensor:
    """What the stage below gives to row y (B, W, F): run anew at even rows, held for the odd ones.

    `names` are the states that running it renews.
    """
    held = f"rows_{stage.grow.name}"
    parity = y // stage.scale % 2

    def run() -> State:
        stream.after[held] = stage.grow.two_rows(run_below())
        return {name: stream.after.pop(name) for name in names}

    stream.after.update(refresh(parity == 0, run, stream.before, names))
    return select(stream.after[held], parity)


def states_of(stage: Stage, convs: str, grows: str) -> list[str]:
    """Names of the states of a stage and those below."""
    names = [f"{convs}_{layer.name}" for layer, _ in stage.convs()]
    return names + [f"{grows}_{layer.name}" for layer, _ in stage.grows()]


def pool(condition: Tensor | None, size: tuple[int, int]) -> Tensor | None:
    """A condition's features (B, 1 or H, 1 or W, D), maps averaged to `size`."""
    if condition is None or condition.shape[1] in (1, size[0]):
        return condition
    return ops.mean(_blocks(condition, condition.shape[1] // size[0]), axis=(2, 4))


def pool_row(condition: Tensor | None, scale: int, y: Tensor) -> Tensor | None:
    """The row of the pooled condition that row y (B,) of the grid lies in: (B, 1 or W / scale, D)."""
    if condition is None or condition.shape[1] == 1:
        return None if condition is None else condition[:, 0]
    return ops.mean(select(_blocks(condition, scale), y // scale), axis=(1, 3))


def _blocks(maps: Tensor, scale: int) -> Tensor:
    """(B, H, W, D) → (B, H / scale, scale, W / scale, scale, D)."""
    height, width, size = maps.shape[1:]
    return ops.reshape(maps, (-1, height // scale, scale, width // scale, scale, size))


_PLAIN: weakref.WeakKeyDictionary[PixelCNNPP, PixelCNNPP] = weakref.WeakKeyDictionary()


def copy_weights(prior: PixelCNNPP, plain: PixelCNNPP) -> None:
    """Gives the weights of a prior to one with plain kernels."""
    for ours, theirs in zip(prior._flatten_layers(), plain._flatten_layers(), strict=True):
        if isinstance(ours, WeightNormalized):
            theirs.kernel.assign(ours.effective_kernel())
            theirs.bias.assign(ours.bias)
        elif ours.weights and not ours._layers:
            theirs.set_weights(ours.get_weights())
