"""The streaming rule: one topology, run over the whole image or one step at a time.

A topology takes an argument `apply(layer, x)` and calls `apply(conv, x)` wherever a layer looks at other
positions. `over_image` runs the layer over the image, whose border is zero padding; a `Stream` runs one step,
whose border is the layer's state: the rows above, or the pixels to the left.

A layer says how it streams. It looks at no other position, `is_pointwise = True`, and runs as it is; or it
has some of these steps, each from a state to the next:

    row_step    a whole row, from the rows above it                        state: row_spec(width)
    pixel_step  one pixel, from the pixels to its left in its row          state: pixel_spec()
    own_row     what `pixel_step` gives for all pixels of a row at once

Fed row (pixel) i, a step gives the output at i + `latency`.

Shapes: B batch · W width · C channels in · F filters · kh, kw kernel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

Apply = Callable[[keras.layers.Layer, Any], Any]
State = dict[str, Any]
"""Named tensors (B, …), or dicts of them."""


@dataclass(frozen=True)
class StateSpec:
    """A tensor of a state before the first step: its shape without the batch, its type, and its filling.

    The filling is one number, or a number for each place of the last axis.
    """

    shape: tuple[int, ...]
    dtype: str
    filling: int | tuple[int, ...] = 0

    def tensor(self, batch_size: Any) -> Any:
        if isinstance(self.filling, int):
            return ops.full((batch_size, *self.shape), self.filling, self.dtype)
        return ops.zeros((batch_size, *self.shape), self.dtype) + np.asarray(self.filling, self.dtype)


def empty_state(specs: Any, batch_size: Any) -> Any:
    """The state of these specifications, alone or in dicts, before the first step."""
    return keras.tree.map_structure(lambda spec: spec.tensor(batch_size), specs)


def present(specs: dict[str, StateSpec | None]) -> dict[str, StateSpec]:
    """Those of the layers that have a state."""
    return {name: spec for name, spec in specs.items() if spec is not None}


def over_image(layer: keras.layers.Layer, x: Any) -> Any:
    """Applies `layer` to the whole image."""
    return layer(x)


def joined(apply: Apply, links: dict[str, Any]) -> Apply:
    """`apply`, and then the sum with what joins the layer from elsewhere: name of the layer → tensor."""

    def run(layer: keras.layers.Layer, x: Any) -> Any:
        y = apply(layer, x)
        return y + links[layer.name] if layer.name in links else y

    return run


class Stream:
    """Applies layers one step at a time, reading their states by name and collecting the new ones.

    Raises:
        TypeError: for a layer that does not say how it takes such a step.
    """

    def __init__(self, states: State, step: Literal["row_step", "pixel_step", "own_row"]) -> None:
        self.step = step
        self.before = states
        self.after: State = {}

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        if getattr(layer, "is_pointwise", False):
            return layer(x)
        step = getattr(layer, self.step, None)
        if step is None:
            raise TypeError(
                f"{type(layer).__name__} {layer.name!r} does not say how it streams; expected a method "
                f"{self.step}, or is_pointwise = True for a layer that looks at no other position."
            )
        y, state = step(x, self.before.get(layer.name))
        if state is not None:
            self.after[layer.name] = state
        return y


def select(x: Any, index: Any) -> Any:
    """x[b, index[b]] for every b: (B, N, …), (B,) → (B, …), or (B, T) → (B, T, …)."""
    size, *inner = x.shape[1:]
    flat = ops.reshape(x, (-1, *inner))
    first = ops.arange(ops.shape(index)[0], dtype="int32") * size
    return ops.take(flat, (first if len(index.shape) == 1 else first[:, None]) + index, axis=0)


def where(chosen: Any, these: State, others: State) -> State:
    """Every tensor of `these`, for examples not `chosen` (B,) replaced by that of `others`."""
    ranks = {len(part.shape) for part in keras.tree.flatten(these)}
    by_rank = {rank: ops.reshape(chosen, (-1, *[1] * (rank - 1))) for rank in ranks}
    return keras.tree.map_structure(
        lambda this, other: ops.where(by_rank[len(this.shape)], this, other), these, others
    )


def refresh(due: Any, run: Callable[[], State], state: State) -> State:
    """The state from `run()` for examples that are `due` (B,), else as it was.

    Where no example is due, `run` costs nothing.
    """

    def renewed() -> list[Any]:
        return keras.tree.flatten(where(due, run(), state))

    parts = ops.cond(ops.any(due), renewed, lambda: keras.tree.flatten(state))
    return keras.tree.pack_sequence_as(state, parts)


def push_row(state: Any, x: Any) -> tuple[Any, Any]:
    """Window (B, kh, W, C) and next state when row `x` (B, W, C) joins the `state` (B, kh − 1, W, C).

    A layer whose window is one row high has no state (None).
    """
    newest = ops.expand_dims(x, 1)
    if state is None:
        return newest, None
    window = ops.concatenate([state, newest], axis=1)
    return window, newest if state.shape[1] == 1 else window[:, 1:]


def push_pixel(state: Any, x: Any) -> tuple[Any, Any]:
    """Window (B, kw · C) and next state when pixel `x` (B, C) joins the `state` (B, (kw − 1) · C).

    A layer whose window is one pixel wide has no state (None).
    """
    if state is None:
        return x, None
    window = ops.concatenate([state, x], axis=1)
    channels = x.shape[-1]
    return window, x if state.shape[-1] == channels else window[:, channels:]


def convolve_row(window: Any, kernel: Any, padding: tuple[int, int] | None = None, strides: int = 1) -> Any:
    """One row of a convolution: (B, kh, W, C) by (kh, kw, C, F) → (B, W / strides, F).

    `padding` is how many columns of zeros stand left and right of the row; as many on either side by default.
    """
    columns = kernel.shape[1]
    padding = padding or (columns // 2, columns // 2)
    if any(padding):
        window = ops.pad(window, ((0, 0), (0, 0), padding, (0, 0)))
    return ops.squeeze(
        ops.conv(window, kernel, strides, padding="valid", data_format="channels_last"), axis=1
    )


def convolve_pixel(window: Any, kernel: Any) -> Any:
    """One pixel of a convolution along a row: (B, kw · C) by (kw, C, F) → (B, F)."""
    columns, channels, filters = kernel.shape
    return ops.matmul(window, ops.reshape(kernel, (columns * channels, filters)))


def project(x: Any, kernel: Any) -> Any:
    """(…, C) by (C, F) → (…, F), as one product of matrices whose only unknown size is the first.

    Left to the backend, a product with more axes than two works its shapes out at run time.
    """
    if len(x.shape) == 2:
        return ops.matmul(x, kernel)
    channels, filters = kernel.shape
    return ops.reshape(ops.matmul(ops.reshape(x, (-1, channels)), kernel), (-1, *ops.shape(x)[1:-1], filters))
