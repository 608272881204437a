"""The streaming rule: one topology, run over the whole image or one step at a time.

A topology takes an argument `apply(layer, x)` and calls `apply(conv, x)` wherever a layer looks at other
pixels. `whole` runs the layer over the image, whose border is zero padding; a `Stream` runs one step, whose
border is the layer's state: the rows above, or the pixels to the left.

Shapes: B batch · W width · C channels in · F filters · kh, kw kernel.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

Apply = Callable[[keras.layers.Layer, Any], Any]
State = dict[str, Any]


def whole(layer: keras.layers.Layer, x: Any) -> Any:
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

    A layer that looks at no other pixel has no such `method` and runs as it is.
    """

    def __init__(self, states: State, method: str = "step", prefix: str = "") -> None:
        self.method = method
        self.prefix = prefix
        self.before = states
        self.after: State = {}

    def __call__(self, layer: keras.layers.Layer, x: Any) -> Any:
        step = getattr(layer, self.method, None)
        if step is None:
            return layer(x)
        name = self.prefix + layer.name
        y, state = step(x, self.before.get(name))
        if state is not None:
            self.after[name] = state
        return y


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
    return ops.reshape(ops.matmul(ops.reshape(x, (-1, channels)), kernel), (-1, *x.shape[1:-1], filters))
