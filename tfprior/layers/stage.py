"""Stages of PixelCNN++ (Salimans et al. 2017, arXiv:1701.05517), and how a stream of them is executed.

The topology of a stream is `Stage.run`, written once. An `Execution` says how its layers run: over the whole
image, or as one `Step`, a row or a pixel, at which a stage below runs only where it is due.

Shapes: B batch · H W grid · F filters.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import keras

from tfprior.layers.gated_resnet import Features, GatedResNet
from tfprior.layers.shifted_conv import Direction, ShiftedConv2D, ShiftedConv2DTranspose
from tfprior.layers.streaming import Apply, State, StateSpec, Stream, joined, present, refresh

Links = dict[str, Any]
"""What joins layers from elsewhere: name of the layer → tensor."""


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
        shared = {"weight_norm": weight_norm, "dtype": self.dtype_policy}

        def block(side: str, index: int) -> GatedResNet:
            return GatedResNet(
                filters,
                direction,
                takes_down=direction == "down_right",
                takes_shortcut=side == "decoder",
                dropout=dropout,
                name=f"{self.name}_{side}_{index}",
                **shared,
            )

        self.encoder = [block("encoder", index) for index in range(num_layers)]
        self.decoder = [block("decoder", index) for index in range(num_layers + (num_stages > 1))]
        self.shrink: Any = None
        self.below: Any = None
        self.grow: Any = None
        if num_stages > 1:
            size = (2, 3) if direction == "down" else (2, 2)
            self.shrink = ShiftedConv2D(filters, size, direction, 2, name=f"{self.name}_shrink", **shared)
            self.grow = ShiftedConv2DTranspose(filters, direction, name=f"{self.name}_grow", **shared)
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
        for block in self.blocks:
            others = (block.takes_down + block.takes_shortcut) * [input_shape]
            block.build([input_shape, *others, *([] if condition is None else [condition])])
        if self.below is not None:
            for layer in (self.shrink, self.grow):
                layer.build(input_shape)
            self.below.build(input_shape, condition)
        self.built = True

    def run(self, x: Any, execution: "Execution") -> Any:
        """Features (…, F) → features (…, F)."""
        features = Features.of(x)
        shortcuts = [features]
        for block in self.encoder:
            features = execution.run_block(block, features, None)
            shortcuts.append(features)
        features = shortcuts.pop() if self.below is None else Features.of(execution.descend(self, features.x))
        for block in self.decoder:
            features = execution.run_block(block, features, shortcuts.pop())
        return features.x

    @property
    def blocks(self) -> list[GatedResNet]:
        return [*self.encoder, *self.decoder]

    @property
    def convs(self) -> list[ShiftedConv2D]:
        """Its own layers that look at other positions."""
        convs = [conv for block in self.blocks for conv in (block.conv, block.gates)]
        return convs if self.shrink is None else [*convs, self.shrink]

    def stages(self) -> Iterator["Stage"]:
        """This stage and those below."""
        yield self
        if self.below is not None:
            yield from self.below.stages()

    def spec(
        self,
        conv: Callable[[ShiftedConv2D, int], StateSpec | None],
        held: Callable[[int], StateSpec],
        links: Callable[["Stage"], State] | None = None,
    ) -> State:
        """What a `Step` changes: states of its layers, the links it gives, and the same of the stage below.

        `conv` gives the state of a layer at a scale, `held` what stays of the way up to one.
        """
        spec: State = {"convs": present({layer.name: conv(layer, self.scale) for layer in self.convs})}
        if links is not None:
            spec["links"] = links(self)
        if self.below is not None:
            spec["below"] = {**self.below.spec(conv, held, links), "held": held(self.scale)}
        return spec


def of_all_stages(state: State, name: Literal["convs", "links"]) -> State:
    """An entry of the state of a stage and of those below, by the names of its layers."""
    return {**state[name], **(of_all_stages(state["below"], name) if "below" in state else {})}


def no_links(*_: Any) -> Links:
    return {}


class Execution:
    """How a stream runs: this one over the whole image.

    Args:
        apply: runs a layer.
        join: what joins the layers of a block that gets these features.
        publish: what a block with these features gives to the layers of another stream.
        training: whether dropout is at work.

    Attributes:
        links: all that was published.
    """

    def __init__(
        self,
        apply: Apply,
        join: Callable[[GatedResNet, Features], Links] = no_links,
        publish: Callable[[GatedResNet, Features], Links] = no_links,
        training: bool = False,
    ) -> None:
        self.apply = apply
        self.join = join
        self.publish = publish
        self.training = training
        self.links: Links = {}

    def run_block(self, block: GatedResNet, x: Features, shortcut: Features | None) -> Features:
        y = block.run(x, shortcut, joined(self.apply, self.join(block, x)), self.training)
        self.links.update(self.publish(block, y))
        return y

    def descend(self, stage: Stage, x: Any) -> Any:
        """Features of a stage (…, F) → what the stage below gives it (…, F)."""
        return self.apply(stage.grow, stage.below.run(self.apply(stage.shrink, x), self))


@dataclass(frozen=True)
class Stepping:
    """How a stream takes one step, a row or a pixel.

    Attributes:
        step: of the layers.
        is_due: whether the stage below one of this scale runs (B,).
        grow: what a stage below gives until it runs again.
        current: the part of that for this step.
        links: join the layers, by their names.
        join: as of `Execution`.
        publish: as of `Execution`.
        publish_shrink: what the way down from a stage gives to another stream.
    """

    step: Literal["row_step", "own_row", "pixel_step"]
    is_due: Callable[[int], Any]
    grow: Callable[[ShiftedConv2DTranspose, Any], Any]
    current: Callable[[Stage, Any], Any]
    links: Links
    join: Callable[[GatedResNet, Features], Links] = no_links
    publish: Callable[[GatedResNet, Features], Links] = no_links
    publish_shrink: Callable[[Stage], Links] = no_links


class Step(Execution):
    """One step from the state of a stage, which `Stage.spec` describes, to its next one."""

    def __init__(self, state: State, stepping: Stepping) -> None:
        self.stream = Stream(state["convs"], stepping.step)
        super().__init__(joined(self.stream, stepping.links), stepping.join, stepping.publish)
        self.before = state
        self.stepping = stepping
        self.below: State = {}

    def descend(self, stage: Stage, x: Any) -> Any:
        stepping = self.stepping
        x = self.apply(stage.shrink, x)
        self.links.update(stepping.publish_shrink(stage))

        def run() -> State:
            below = Step(self.before["below"], stepping)
            y = stage.below.run(x, below)
            return {**below.after, "held": stepping.grow(stage.grow, y)}

        self.below = refresh(stepping.is_due(stage.scale), run, self.before["below"])
        return stepping.current(stage, self.below["held"])

    @property
    def after(self) -> State:
        after: State = {"convs": self.stream.after}
        if "links" in self.before:
            after["links"] = self.links
        return {**after, "below": self.below} if self.below else after
