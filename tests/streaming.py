"""One check of the streaming rule for every layer: its steps give what it gives over the whole image."""

from typing import Any

import numpy as np

from tfprior.layers.streaming import StateSpec, Stream


def verify_streaming(layer: Any, x: np.ndarray, atol: float = 1e-5) -> None:
    """Runs a built layer over images x (B, H, W, C) and by every step that it has, twice: no state may leak.

    Raises:
        AssertionError: for a layer that does not say how it streams, and for steps that give something else.
    """
    expected = np.asarray(layer(x))
    steps = [name for name in ("row_step", "pixel_step") if has_step(layer, name)]
    assert getattr(layer, "is_pointwise", False) != bool(steps), f"{layer.name} does not say how it streams"
    for _ in range(2):
        if not steps:
            assert_pointwise(layer, x, expected, atol)
        if "row_step" in steps:
            assert_rows(layer, x, expected, atol)
        if "pixel_step" in steps:
            assert_pixels(layer, x, expected, atol)


def has_step(layer: Any, name: str) -> bool:
    """Whether the layer has it and, looking along one axis, that axis is the step's."""
    along = {"row_step": "rows", "pixel_step": "columns"}[name]
    return hasattr(layer, name) and getattr(layer, "axis", along) == along


def assert_pointwise(layer: Any, x: np.ndarray, expected: np.ndarray, atol: float) -> None:
    for y, column in np.ndindex(x.shape[1:3]):
        by_pixel = Stream({}, "pixel_step")(layer, x[:, y, column])
        np.testing.assert_allclose(by_pixel, expected[:, y, column], atol=atol)


def assert_rows(layer: Any, x: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """Fed row i, the output at i + latency; of strides 2, every second one."""
    if getattr(layer, "direction", "down") != "down" or hasattr(layer, "above"):
        return assert_rows_above(layer, x, expected, atol)
    state, rows = state_of(layer.row_spec(x.shape[2])), []
    for y in range(x.shape[1]):
        row, state = layer.row_step(x[:, y], state)
        rows.append(np.asarray(row))
    outputs = np.stack(rows, 1)[:, : x.shape[1] - layer.latency]
    np.testing.assert_allclose(outputs, expected[:, layer.latency :], atol=atol)


def assert_rows_above(layer: Any, x: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """A row whole; and what the rows above give to it, with what it gives itself."""
    strides = getattr(layer, "strides", 1)
    state = state_of(layer.row_spec(x.shape[2]))
    for y in range(x.shape[1]):
        own, _ = layer.own_row(x[:, y], state)
        parts = own if state is None else np.asarray(layer.above(state)) + own
        row, state = layer.row_step(x[:, y], state)
        if y % strides == 0:
            np.testing.assert_allclose(row, expected[:, y // strides], atol=atol)
            np.testing.assert_allclose(parts, expected[:, y // strides], atol=atol)


def assert_pixels(layer: Any, x: np.ndarray, expected: np.ndarray, atol: float) -> None:
    """Pixels from the left end of each row are `own_row`, and with what `above` gives the image."""
    strides, latency = getattr(layer, "strides", 1), layer.latency
    if getattr(layer, "direction", "down_right") != "down_right":
        return  # it looks to the right
    rows = state_of(layer.row_spec(x.shape[2])) if has_step(layer, "row_step") else None
    for y in range(x.shape[1]):
        state, pixels = state_of(layer.pixel_spec()), []
        for column in range(x.shape[2]):
            pixel, state = layer.pixel_step(x[:, y, column], state)
            pixels.append(np.asarray(pixel))
        outputs = np.stack(pixels[::strides], 1)
        outputs = outputs[:, : outputs.shape[1] - latency]
        if has_step(layer, "row_step"):
            if y % strides == 0:
                own = np.asarray(layer.own_row(x[:, y], rows)[0])[:, latency:]
                np.testing.assert_allclose(outputs, own, atol=atol)
                above = 0 if rows is None else np.asarray(layer.above(rows))[:, latency:]
                np.testing.assert_allclose(outputs + above, expected[:, y // strides, latency:], atol=atol)
            _, rows = layer.row_step(x[:, y], rows)
        else:
            np.testing.assert_allclose(outputs, expected[:, y, latency:], atol=atol)


def state_of(spec: StateSpec | None, batch_size: int = 2) -> Any:
    return None if spec is None else spec.tensor(batch_size)
