"""Every layer against a plain loop, streamed against whole, and its constructor's errors.

Shapes: B batch · H W C grid · F filters · k kernel. Kernels and biases are random.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from catalogue import features, integers, randomise

from tfprior.layers import (
    CausalConv2D,
    GatedActivation,
    GatedBlock,
    MaskedConv2D,
    MaskedDense,
    ResidualBlock,
    ValueEncoding,
)
from tfprior.layers.streaming import StateSpec, Stream
from tfprior.layers.value_encoding import OUTSIDE

X = features(2, 4, 5, 6)  # H ≠ W, and 6 channels split into 1, 2 or 3 groups
HEIGHT, WIDTH = X.shape[1:3]


def built(layer: Any, x: Any = X) -> Any:
    layer(x)
    return randomise(layer)


def assert_close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


# Plain loops ---------------------------------------------------------------------------------------------


def sees(mask_type: str, groups: int, source: int, sources: int, target: int, targets: int) -> bool:
    """Whether an output channel may see an input channel of its own pixel."""
    source_group, target_group = source // (sources // groups), target // (targets // groups)
    return source_group < target_group or (mask_type == "B" and source_group == target_group)


def loop(x: Any, kernel: Any, bias: Any, top: int, left: int, allowed: Callable[..., bool]) -> np.ndarray:
    """A convolution summed tap by tap in float64; tap (0, 0) lies `top` above, `left` left of the output."""
    x, kernel = np.asarray(x, "float64"), np.asarray(kernel, "float64")
    rows, columns, channels, filters = kernel.shape
    y = np.zeros((*x.shape[:3], filters)) + np.asarray(bias, "float64")
    for row, column, i, j in np.ndindex(HEIGHT, WIDTH, rows, columns):
        dy, dx = i - top, j - left
        if not (0 <= row + dy < HEIGHT and 0 <= column + dx < WIDTH):
            continue
        for c, f in np.ndindex(channels, filters):
            if allowed(dy, dx, c, f):
                y[:, row, column, f] += x[:, row + dy, column + dx, c] * kernel[i, j, c, f]
    return y


def masked(mask_type: str, groups: int, filters: int) -> Callable[..., bool]:
    def allowed(dy: int, dx: int, c: int, f: int) -> bool:
        if (dy, dx) == (0, 0):
            return sees(mask_type, groups, c, X.shape[-1], f, filters)
        return dy < 0 or (dy == 0 and dx < 0)

    return allowed


MASKED = [(3, "A", 1), (3, "B", 1), (5, "A", 3), (5, "B", 3), (3, "B", 2)]
each_masked = pytest.mark.parametrize(("kernel_size", "mask_type", "groups"), MASKED)
CAUSAL = [
    ("rows", 3, "A", 1),
    ("rows", 5, "B", 1),
    ("columns", 3, "A", 1),
    ("columns", 5, "A", 1),
    ("columns", 5, "B", 1),
    ("columns", 3, "A", 3),
    ("columns", 5, "B", 3),
]
each_causal = pytest.mark.parametrize(("axis", "kernel_size", "mask_type", "groups"), CAUSAL)


@each_masked
def test_masked_conv_equals_a_loop(kernel_size: int, mask_type: str, groups: int) -> None:
    layer = built(MaskedConv2D(12, kernel_size, mask_type, groups))
    half = kernel_size // 2
    assert_close(layer(X), loop(X, layer.kernel, layer.bias, half, half, masked(mask_type, groups, 12)))


@each_causal
def test_causal_conv_equals_a_loop(axis: str, kernel_size: int, mask_type: str, groups: int) -> None:
    layer = built(CausalConv2D(6, kernel_size, axis, mask_type, groups))
    half = kernel_size // 2

    def allowed(dy: int, dx: int, c: int, f: int) -> bool:
        if axis == "rows":
            return dy < 0 or mask_type == "B"
        return dx < 0 or sees(mask_type, groups, c, 6, f, 6)

    top, left = (half, half) if axis == "rows" else (0, half)
    assert_close(layer(X), loop(X, layer.kernel, layer.bias, top, left, allowed))


@pytest.mark.parametrize(("mask_type", "groups"), [("A", 1), ("B", 1), ("A", 3), ("B", 3), ("A", 2)])
def test_masked_dense_equals_a_loop(mask_type: str, groups: int) -> None:
    layer = built(MaskedDense(12, mask_type, groups))
    kernel = np.asarray(layer.kernel)[None, None]
    assert_close(layer(X), loop(X, kernel, layer.bias, 0, 0, masked(mask_type, groups, 12)))


@each_masked
def test_masked_conv_is_the_sum_of_its_causal_halves(kernel_size: int, mask_type: str, groups: int) -> None:
    half = kernel_size // 2
    whole = built(MaskedConv2D(6, kernel_size, mask_type, groups))
    rows = built(CausalConv2D(6, kernel_size, "rows", "A"))
    columns = built(CausalConv2D(6, kernel_size, "columns", mask_type, groups))
    kernel, bias = whole.get_weights()
    rows.set_weights([kernel[:half], 0 * bias])
    columns.set_weights([kernel[half : half + 1, : columns.taps], bias])
    assert_close(whole(X), rows(X) + columns(X))


# Masks, drawn --------------------------------------------------------------------------------------------

RGB = {"A": ["011", "001", "000"], "B": ["111", "011", "001"]}  # input R, G, B × output R, G, B
SPACE = ["11111", "11111", "11c00", "00000", "00000"]


def drawn(rows: list[str]) -> np.ndarray:
    return np.array([[mark == "1" for mark in row] for row in rows], "float32")


@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_mask_of_three_channels(mask_type: str) -> None:
    layer = MaskedDense(3, mask_type, groups=3)
    layer.build((None, 3))
    layer.set_weights([np.ones((3, 3)), np.zeros(3)])
    np.testing.assert_array_equal(layer(np.eye(3, dtype="float32")), drawn(RGB[mask_type]))


def test_mask_of_channel_groups_keeps_them_together() -> None:
    layer = MaskedDense(6, "A", groups=3)
    layer.build((None, 3))
    layer.set_weights([np.ones((3, 6)), np.zeros(6)])
    np.testing.assert_array_equal(layer(np.eye(3, dtype="float32")), drawn(["001111", "000011", "000000"]))


@pytest.mark.parametrize("mask_type", ["A", "B"])
def test_mask_of_a_masked_conv(mask_type: str) -> None:
    layer = MaskedConv2D(3, 5, mask_type, groups=3)
    layer.build((None, 9, 9, 3))
    layer.set_weights([np.ones((5, 5, 3, 3)), np.zeros(3)])
    impulses = np.zeros((3, 9, 9, 3), "float32")
    impulses[range(3), 4, 4, range(3)] = 1
    # An impulse shows the kernel turned by 180°.
    seen = np.asarray(layer(impulses))[:, 2:7, 2:7][:, ::-1, ::-1]  # (input channel, k, k, output channel)
    for source, target in np.ndindex(3, 3):
        rows = [row.replace("c", RGB[mask_type][source][target]) for row in SPACE]
        np.testing.assert_array_equal(seen[source, :, :, target], drawn(rows))


# Gates, blocks, encodings --------------------------------------------------------------------------------


def gate(x: np.ndarray, groups: int) -> np.ndarray:
    outputs = []
    for group in np.split(np.asarray(x, "float64"), groups, -1):
        a, b = np.split(group, 2, -1)
        outputs.append(np.tanh(a) / (1 + np.exp(-b)))
    return np.concatenate(outputs, -1)


def dense(layer: Any, x: np.ndarray) -> np.ndarray:
    """A 1×1 layer in float64, with its channels in `groups` ordered groups if it is masked."""
    kernel, *bias = (np.asarray(weight, "float64") for weight in layer.get_weights())
    for c, f in np.ndindex(*kernel.shape):
        groups = getattr(layer, "groups", 1)
        kernel[c, f] *= sees("B", groups, c, kernel.shape[0], f, kernel.shape[1])
    return x @ kernel + (bias[0] if bias else 0)


@pytest.mark.parametrize("groups", [1, 3])
def test_gated_activation_gates_every_group_by_itself(groups: int) -> None:
    assert_close(GatedActivation(groups)(X), gate(X, groups))
    assert_close(GatedActivation(groups)(X[:, 0, 0]), gate(X[:, 0, 0], groups))


@pytest.mark.parametrize(("mask_type", "groups"), [("A", 1), ("B", 1), ("A", 3), ("B", 3)])
@pytest.mark.parametrize("conditioned", [False, True])
def test_gated_block_equals_its_figure(mask_type: str, groups: int, conditioned: bool) -> None:
    v, h, condition = X, features(*X.shape, seed=1), features(2, 1, 1, 4, seed=2)
    inputs = [v, h, condition] if conditioned else [v, h]
    block = built(GatedBlock(6, 3, mask_type, groups), inputs)

    to_v, to_h = np.split(dense(block.condition_gates, condition), 2, -1) if conditioned else (0, 0)
    vertical = np.asarray(block.rows_conv(v)) + to_v
    horizontal = np.asarray(block.columns_conv(h)) + dense(block.link, vertical) + to_h
    gated = gate(horizontal, groups)
    residual = dense(block.residual, gated)
    expected = [gate(vertical, 1), residual + (h if mask_type == "B" else 0), gated]
    for actual, wanted in zip(block(inputs), expected, strict=True):
        assert_close(actual, wanted)


@pytest.mark.parametrize("groups", [1, 3])
def test_residual_block_equals_its_figure(groups: int) -> None:
    block = built(ResidualBlock(6, 3, groups))
    x = dense(block.reduce, np.maximum(X, 0)).astype("float32")
    x = np.asarray(block.conv(np.maximum(x, 0)), "float64")
    assert_close(block(X), X + dense(block.expand, np.maximum(x, 0)))


@pytest.mark.parametrize("kind", [GatedBlock, ResidualBlock])
def test_dropout_works_in_training_only(kind: Any) -> None:
    x = [X, X] if kind is GatedBlock else X
    block = kind(6, dropout=0.9)
    built(block, x)
    outputs = [
        np.concatenate(np.atleast_1d(block(x, training=training))) for training in (False, False, True)
    ]
    np.testing.assert_array_equal(outputs[0], outputs[1])
    assert np.abs(outputs[0] - outputs[2]).max() > 0.01


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_values_are_read_as_scaled_numbers_beside_a_one(dtype: str) -> None:
    values = integers(2, 4, 5, 3, top=17).astype(dtype)
    scaled = values.astype("float64") / 16 * 2 - 1
    expected = np.stack([scaled, np.ones_like(scaled)], -1).reshape(2, 4, 5, 6)
    np.testing.assert_allclose(ValueEncoding(17)(values), expected, atol=1e-6)


def test_values_are_read_through_a_table() -> None:
    values = integers(2, 4, 5, 3, top=17)
    layer = built(ValueEncoding(17, embedding_dim=4), values)
    np.testing.assert_array_equal(layer(values), layer.get_weights()[0][values].reshape(2, 4, 5, 12))


@pytest.mark.parametrize("embedding_dim", [None, 4])
def test_outside_reads_as_padding(embedding_dim: int | None) -> None:
    values = integers(2, 3)
    values[0, 1] = OUTSIDE
    encoded = np.asarray(built(ValueEncoding(4, embedding_dim), values)(values)).reshape(2, 3, -1)
    assert not encoded[0, 1].any()
    assert np.abs(encoded).sum(-1).astype(bool).sum() == 5


def test_two_levels_are_minus_one_and_one() -> None:
    assert ValueEncoding(2)(np.array([[0], [1]])).numpy().tolist() == [[-1, 1], [1, 1]]


# Streaming -----------------------------------------------------------------------------------------------


def state_of(spec: StateSpec | None) -> Any:
    return None if spec is None else spec.tensor(2)


def stream_rows(step: Callable[..., Any], state: Any, x: np.ndarray) -> np.ndarray:
    """Feeds the rows one by one to `step`: (B, H, W, C) → (B, H, W, F)."""
    outputs = []
    for row in range(HEIGHT):
        y, state = step(x[:, row], state)
        outputs.append(np.asarray(y))
    return np.stack(outputs, 1)


def stream_pixels(step: Callable[..., Any], start: Callable[[], Any], x: np.ndarray) -> np.ndarray:
    """Feeds the pixels of every row one by one, from a fresh state at its left end."""
    rows = []
    for row in range(HEIGHT):
        state, outputs = start(), []
        for column in range(WIDTH):
            y, state = step(x[:, row, column], state)
            outputs.append(np.asarray(y))
        rows.append(np.stack(outputs, 1))
    return np.stack(rows, 1)


def test_value_encoding_streams_as_it_is() -> None:
    values = integers(2, HEIGHT, WIDTH, 3)
    layer = built(ValueEncoding(4, 3), values)
    assert_close(stream_pixels(lambda x, state: (layer(x), state), lambda: None, values), layer(values))


@pytest.mark.parametrize(("mask_type", "groups"), [("B", 1), ("A", 3), ("B", 3)])
def test_gated_block_streams(mask_type: str, groups: int) -> None:
    h = features(*X.shape, seed=1)
    block = built(GatedBlock(6, 3, "B" if groups == 1 else mask_type, groups), [X, h])
    expected_v, expected_h, expected_skip = (np.asarray(y) for y in block([X, h]))
    behind = int(block.rows_conv.latency)

    def row(x: np.ndarray, state: Any) -> Any:
        stream = Stream(state, "row_step")
        v, link = block.vertical(x, None, stream)
        return np.concatenate([v, link], -1), stream.after

    def pixel(x: np.ndarray, state: Any) -> Any:
        stream = Stream(state, "pixel_step")
        y = block.horizontal(x[:, :6], x[:, 6:], stream)
        return np.concatenate(y, -1), stream.after

    start = {block.rows_conv.name: state_of(block.rows_conv.row_spec(WIDTH))}
    streamed = stream_rows(row, start, X)
    assert_close(streamed[:, : HEIGHT - behind, :, :6], expected_v[:, behind:])
    link = np.asarray(block.link(block.rows_conv(X)))
    assert_close(streamed[:, : HEIGHT - behind, :, 6:], link[:, behind:])
    columns = block.columns_conv
    begin = lambda: {columns.name: state_of(columns.pixel_spec())}  # noqa: E731
    y = stream_pixels(pixel, begin, np.concatenate([h, link], -1))
    assert_close(y, np.concatenate([expected_h, expected_skip], -1))


@pytest.mark.parametrize("groups", [1, 3])
def test_residual_block_streams_by_rows(groups: int) -> None:
    block = built(ResidualBlock(6, 3, groups))

    def row(x: np.ndarray, state: Any) -> Any:
        stream = Stream(state, "row_step")
        return block.run(x, 0.0, stream), stream.after

    assert_close(stream_rows(row, {block.conv.name: state_of(block.conv.row_spec(WIDTH))}, X), block(X))


@pytest.mark.parametrize("groups", [1, 3])
def test_residual_block_streams_by_pixels(groups: int) -> None:
    block = built(ResidualBlock(6, 3, groups))
    inner = np.maximum(block.reduce(np.maximum(X, 0)), 0)
    state, above = state_of(block.conv.row_spec(WIDTH)), []
    for y in range(HEIGHT):
        above.append(np.asarray(block.conv.above(state)))
        _, state = block.conv.row_step(inner[:, y], state)

    def pixel(x: np.ndarray, state: Any) -> Any:
        stream = Stream(state, "pixel_step")
        return block.run(x[:, :6], x[:, 6:], stream), stream.after

    begin = lambda: {block.conv.name: state_of(block.conv.pixel_spec())}  # noqa: E731
    assert_close(stream_pixels(pixel, begin, np.concatenate([X, np.stack(above, 1)], -1)), block(X))


# Weights and errors --------------------------------------------------------------------------------------


def test_masked_weights_are_kept_and_ignored() -> None:
    layer = built(MaskedConv2D(6, 3, "A", 3))
    before, y = layer.get_weights(), np.asarray(layer(X))
    layer.row_step(X[:, 0], state_of(layer.row_spec(WIDTH)))
    layer.pixel_step(X[:, 0, 0], state_of(layer.pixel_spec()))
    for weight, kept in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
    kernel, bias = before
    assert (kernel != 0).all()
    kernel = kernel.copy()
    kernel[1, 2:], kernel[2] = 1e6, 1e6
    layer.set_weights([kernel, bias])
    np.testing.assert_array_equal(layer(X), y)


def test_a_gate_needs_halves_of_every_group() -> None:
    with pytest.raises(ValueError, match=r"GatedActivation got .*8.*groups=3"):
        GatedActivation(3)(features(3, 4, 5, 8))
    with pytest.raises(ValueError, match=r"GatedActivation got .*5.*groups=1"):
        GatedActivation()(features(3, 4, 5, 5))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MaskedConv2D(6, 3, "C"), "MaskedConv2D got mask_type='C'; expected 'A'"),
        (lambda: MaskedConv2D(6, 4, "A"), "MaskedConv2D got kernel_size=4; expected an odd number"),
        (lambda: MaskedConv2D(6, 1, "A"), "MaskedConv2D got kernel_size=1;.*use MaskedDense"),
        (lambda: MaskedConv2D(6, -3, "A"), "MaskedConv2D got kernel_size=-3"),
        (lambda: MaskedConv2D(8, 3, "A", 3), "filters=8 for groups=3;.*for example filters=9"),
        (lambda: MaskedConv2D(0, 3, "A"), "MaskedConv2D got filters=0"),
        (lambda: MaskedConv2D(6, 3, "A", 0), "MaskedConv2D got filters=6 for groups=0"),
        (lambda: MaskedConv2D(8, 3, "A", 4)(X), "MaskedConv2D got input channels=6 for groups=4"),
        (lambda: CausalConv2D(6, 3, "rows", "a"), "CausalConv2D got mask_type='a'"),
        (lambda: CausalConv2D(6, 3, "diagonal"), "CausalConv2D got axis='diagonal'; expected 'rows' or"),
        (lambda: CausalConv2D(6, 3, "rows", "A", 3), "CausalConv2D got groups=3 along rows.*groups=1"),
        (lambda: CausalConv2D(6, 2, "columns"), "CausalConv2D got kernel_size=2; expected an odd number"),
        (lambda: CausalConv2D(6, 1, "columns"), "CausalConv2D got kernel_size=1"),
        (lambda: CausalConv2D(8, 3, "columns", "B", 3), "CausalConv2D got filters=8 for groups=3"),
        (lambda: CausalConv2D(8, 3, "columns", "B", 4)(X), "got input channels=6 for groups=4"),
        (lambda: MaskedDense(6, "X"), "MaskedDense got mask_type='X'"),
        (lambda: MaskedDense(8, "A", 3), "MaskedDense got filters=8 for groups=3"),
        (lambda: MaskedDense(8, "A", 4)(X), "MaskedDense got input channels=6 for groups=4"),
        (lambda: GatedActivation(0), "GatedActivation got groups=0"),
        (lambda: GatedBlock(8, groups=3), "GatedBlock got filters=8 for groups=3"),
        (lambda: GatedBlock(6, 4), "got kernel_size=4; expected an odd number"),
        (lambda: GatedBlock(6, mask_type="C"), "got mask_type='C'"),
        (lambda: GatedBlock(6, dropout=1.5), "rate.*1.5"),
        (lambda: ResidualBlock(9, groups=3), "ResidualBlock got filters=9 for groups=6;.*filters=12"),
        (lambda: ResidualBlock(7), "ResidualBlock got filters=7"),
        (lambda: ResidualBlock(6, 2), "got kernel_size=2; expected an odd number"),
        (lambda: ResidualBlock(6, dropout=-1), "rate.*-1"),
        (lambda: ValueEncoding(1), "ValueEncoding got num_levels=1; expected"),
        (lambda: ValueEncoding(4, 0), "ValueEncoding got embedding_dim=0; expected"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
