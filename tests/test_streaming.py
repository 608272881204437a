"""Every layer of the catalogue streams as it says, and a stream takes no layer that does not say how."""

from typing import Any

import keras
import numpy as np
import pytest
from catalogue import LAYERS, Entry, features, randomise
from streaming import verify_streaming

from tfprior.layers import CausalConv2D, MaskedConv2D, ShiftedConv2D, ShiftedConv2DTranspose, SwinBlock
from tfprior.layers.streaming import StateSpec, Stream, empty_state

STEPS = ("is_pointwise", "row_step", "pixel_step")
STREAMING = [entry for entry in LAYERS if any(hasattr(entry.kind, name) for name in STEPS)]
WHOLE = {ShiftedConv2DTranspose, SwinBlock}
"""Never streamed by themselves."""
COMPOSED = [entry for entry in LAYERS if entry not in STREAMING and entry.kind not in WHOLE]
POINTWISE_IN_KERAS = (
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Identity,
    keras.layers.LayerNormalization,
    keras.layers.RMSNormalization,
)


def built(entry: Entry) -> Any:
    layer = entry.build()
    layer(entry.inputs())
    return randomise(layer)


@pytest.mark.parametrize("entry", STREAMING, ids=str)
def test_layers_stream_as_they_say(entry: Entry) -> None:
    verify_streaming(built(entry), entry.inputs())


@pytest.mark.each_once
@pytest.mark.parametrize("kernel_size", [3, 5, 7])
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_masked_convolutions_stream(kernel_size: int, mask_type: Any, groups: int) -> None:
    x = features(2, 5, 6, 6)
    for layer in (
        MaskedConv2D(6, kernel_size, mask_type, groups),
        CausalConv2D(6, kernel_size, "rows", mask_type),
        CausalConv2D(6, kernel_size, "columns", mask_type, groups),
    ):
        layer(x)
        verify_streaming(randomise(layer), x)


@pytest.mark.each_once
@pytest.mark.parametrize("direction", ["down", "down_right"])
@pytest.mark.parametrize("weight_norm", [True, False], ids=["weight norm", "plain"])
@pytest.mark.parametrize(
    ("kernel_size", "strides"), [((1, 3), 1), ((2, 1), 1), ((2, 3), 1), ((2, 3), 2), ((3, 5), 2)], ids=str
)
def test_shifted_convolutions_stream(
    direction: Any, weight_norm: bool, kernel_size: tuple[int, int], strides: int
) -> None:
    x = features(2, 4, 6, 3)
    layer = ShiftedConv2D(5, kernel_size, direction, strides, weight_norm)
    layer(x)
    verify_streaming(randomise(layer), x)


@pytest.mark.parametrize("entry", COMPOSED, ids=str)
def test_composed_layers_are_made_of_layers_that_stream(entry: Entry) -> None:
    parts = list(built(entry)._flatten_layers(include_self=False))
    assert parts
    for part in parts:
        says = any(hasattr(part, name) for name in STEPS)
        assert says or isinstance(part, POINTWISE_IN_KERAS) or part._layers, part.name


def test_a_layer_that_does_not_say_how_it_streams_is_refused() -> None:
    layer = keras.layers.Conv2D(3, 3, name="silent")
    with pytest.raises(TypeError, match=r"Conv2D 'silent' does not say .* expected a method row_step"):
        Stream({}, "row_step")(layer, np.zeros((1, 4, 2), "float32"))


def test_a_layer_refuses_to_step_across_its_axis() -> None:
    x = features(2, 4, 5, 3)
    rows, columns = (CausalConv2D(6, 3, axis) for axis in ("rows", "columns"))
    for layer in (rows, columns):
        layer(x)
    with pytest.raises(TypeError, match="looks along rows and does not step along columns"):
        Stream({}, "pixel_step")(rows, x[:, 0, 0])
    with pytest.raises(TypeError, match="looks along columns and does not step along rows"):
        columns.row_spec(5)


def test_an_empty_state_is_as_specified() -> None:
    state = empty_state({"a": StateSpec((2,), "int32", -1), "b": {"c": StateSpec((), "float32")}, "d": {}}, 3)
    np.testing.assert_array_equal(state["a"], np.full((3, 2), -1))
    np.testing.assert_array_equal(state["b"]["c"], np.zeros(3))
    assert (state["a"].dtype, state["b"]["c"].dtype, state["d"]) == ("int32", "float32", {})
