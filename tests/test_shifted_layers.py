"""Shifted convolutions, weight normalization and the gated resnet, against plain NumPy loops in float64.

Shapes: B batch · H W grid, H ≠ W · C channels in · F filters.
"""

import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from catalogue import features, randomise

from tfprior.layers import GatedResNet, ShiftedConv2D, ShiftedConv2DTranspose, WeightNormDense
from tfprior.layers.shifted_conv import moved_down, moved_right
from tfprior.layers.streaming import over_image

DIRECTIONS = {"down": (2, 3), "down_right": (2, 2)}
each_direction = pytest.mark.parametrize("direction", DIRECTIONS)
each_norm = pytest.mark.parametrize("weight_norm", [True, False], ids=["weight norm", "plain"])


def built(layer: Any, *inputs: np.ndarray) -> Any:
    layer(list(inputs) if len(inputs) > 1 else inputs[0])
    return randomise(layer)


def numbers(tensor: Any) -> np.ndarray:
    return np.asarray(tensor, "float64")


def kernel_of(layer: Any) -> np.ndarray:
    """g · v / ‖v‖, or the plain kernel."""
    kernel = numbers(layer.kernel)
    if not layer.weight_norm:
        return kernel
    flat = kernel.reshape(-1, kernel.shape[-1])
    return kernel * numbers(layer.scale) / np.sqrt((flat**2).sum(0))


def convolved(x: np.ndarray, layer: ShiftedConv2D) -> np.ndarray:
    """Every output from its window: rows above and its own, columns around it or to its left and its own."""
    kernel, (rows, columns) = kernel_of(layer), layer.kernel_size
    batch, height, width, _ = x.shape
    first = columns // 2 if layer.direction == "down" else columns - 1
    stride = layer.strides
    y = np.zeros((batch, height // stride, width // stride, layer.filters))
    for i, j, r, c in itertools.product(*map(range, (*y.shape[1:3], rows, columns))):
        row, column = stride * i + r - rows + 1, stride * j + c - first
        if 0 <= row < height and 0 <= column < width:
            y[:, i, j] += x[:, row, column] @ kernel[r, c]
    return y + numbers(layer.bias)


def grown(x: np.ndarray, layer: ShiftedConv2DTranspose) -> np.ndarray:
    """Every input pixel into the outputs it reaches."""
    kernel = kernel_of(layer)
    batch, height, width, _ = x.shape
    left = 1 if layer.direction == "down" else 0
    y = np.zeros((batch, 2 * height, 2 * width, layer.filters))
    for i, j, r, c in itertools.product(*map(range, (height, width, *kernel.shape[:2]))):
        column = 2 * j + c - left
        if 0 <= column < 2 * width:
            y[:, 2 * i + r, column] += x[:, i, j] @ kernel[r, c]
    return y + numbers(layer.bias)


def doubled(x: np.ndarray) -> np.ndarray:
    both = np.concatenate([x, -x], -1)
    return np.where(both > 0, both, np.expm1(np.minimum(both, 0)))


@pytest.mark.each_once
@each_direction
@each_norm
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kernel_size", [(2, 3), (2, 1), (3, 5)], ids=str)
def test_shifted_convolution_is_the_loop(
    direction: Any, weight_norm: bool, strides: int, kernel_size: tuple[int, int]
) -> None:
    x = features(2, 4, 6, 3)
    layer = built(ShiftedConv2D(5, kernel_size, direction, strides, weight_norm), x)
    np.testing.assert_allclose(layer(x), convolved(x, layer), atol=1e-5)


@each_direction
@each_norm
def test_transposed_convolution_is_the_loop(direction: Any, weight_norm: bool) -> None:
    x = features(2, 3, 4, 3)
    layer = built(ShiftedConv2DTranspose(5, direction, weight_norm), x)
    np.testing.assert_allclose(layer(x), grown(x, layer), atol=1e-5)


@each_norm
def test_dense_is_a_product_of_matrices(weight_norm: bool) -> None:
    x = features(2, 3, 4, 3)
    layer = built(WeightNormDense(5, weight_norm), x)
    np.testing.assert_allclose(layer(x), x @ kernel_of(layer) + numbers(layer.bias), atol=1e-5)


@pytest.mark.each_once
@each_direction
@pytest.mark.parametrize(
    ("takes_down", "takes_shortcut"), [(False, False), (False, True), (True, False), (True, True)]
)
@pytest.mark.parametrize("with_condition", [False, True])
def test_gated_resnet_is_its_figure(
    direction: Any, takes_down: bool, takes_shortcut: bool, with_condition: bool
) -> None:
    x, down, shortcut = (numbers(features(2, 4, 6, 4, seed=seed)) for seed in range(3))
    condition = numbers(features(2, 1, 1, 3, seed=3))
    given = [x, *[down] * takes_down, *[shortcut] * takes_shortcut, *[condition] * with_condition]
    block = built(
        GatedResNet(4, direction, takes_down, takes_shortcut, dropout=0.5),
        *(part.astype("float32") for part in given),
    )
    h = convolved(doubled(x), block.conv)
    for layer, part in ((block.from_down, down), (block.from_shortcut, shortcut)):
        if layer is not None:
            h = h + doubled(part) @ kernel_of(layer) + numbers(layer.bias)
    gates = convolved(doubled(h), block.gates)
    if with_condition:
        gates = gates + condition @ numbers(block.from_condition.kernel)
    a, b = np.split(gates, 2, -1)
    expected = x + a / (1 + np.exp(-b))
    inputs = [part.astype("float32") for part in given]
    np.testing.assert_allclose(block(inputs if len(inputs) > 1 else inputs[0]), expected, atol=2e-5)


# Streaming -----------------------------------------------------------------------------------------------


def test_a_row_gives_two_and_a_pixel_two_of_its_four() -> None:
    x = features(2, 3, 4, 3)
    for direction in DIRECTIONS:
        layer = built(ShiftedConv2DTranspose(5, direction), x)
        for row in range(3):
            expected = np.asarray(layer(x))[:, 2 * row : 2 * row + 2]
            np.testing.assert_allclose(layer.two_rows(x[:, row]), expected, atol=1e-5)
        if direction == "down":
            with pytest.raises(ValueError, match="pixel to the right"):
                layer.two_pixels(x[:, 0, 0])
            continue
        two = np.asarray(layer.two_pixels(x[:, 1, 2])).reshape(2, 2, 5)
        np.testing.assert_allclose(two, np.asarray(layer(x))[:, 2, 4:6], atol=1e-5)


def test_what_is_moved_in_is_zero_without_the_bias() -> None:
    x = features(2, 4, 6, 3)
    layer = built(ShiftedConv2D(5, (2, 3), "down"), x)
    moved = np.asarray(moved_down(over_image, layer, x))
    assert not moved[:, 0].any()
    np.testing.assert_allclose(moved[:, 1:], np.asarray(layer(x))[:, :-1], atol=1e-6)
    layer = built(ShiftedConv2D(5, (2, 2), "down_right"), x)
    moved = np.asarray(moved_right(over_image, layer, x))
    assert not moved[:, :, 0].any()
    np.testing.assert_allclose(moved[:, :, 1:], np.asarray(layer(x))[:, :, :-1], atol=1e-6)


# Weight normalization ------------------------------------------------------------------------------------

LAYERS = {
    "down": lambda **given: ShiftedConv2D(5, (2, 3), "down", **given),
    "down right, strided": lambda **given: ShiftedConv2D(5, (2, 2), "down_right", 2, **given),
    "transposed": lambda **given: ShiftedConv2DTranspose(5, "down", **given),
    "dense": lambda **given: WeightNormDense(5, **given),
}
each_layer = pytest.mark.parametrize("name", LAYERS)


@each_layer
def test_the_scale_is_the_kernels_norm(name: str) -> None:
    layer = built(LAYERS[name](), features(2, 4, 6, 3))
    norms = np.linalg.norm(numbers(layer.effective_kernel()).reshape(-1, 5), axis=0)
    np.testing.assert_allclose(norms, np.abs(layer.scale), rtol=1e-5)


@pytest.mark.each_once
@each_layer
@each_norm
@pytest.mark.parametrize("init_scale", [1.0, 0.1])
def test_initialization_normalizes_the_outputs(name: str, weight_norm: bool, init_scale: float) -> None:
    x = 3 + 2 * features(8, 6, 8, 3)
    layer = built(LAYERS[name](weight_norm=weight_norm, init_scale=init_scale), x)
    layer.initialize(x)
    y = numbers(layer(x)).reshape(-1, 5)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(y.std(0), init_scale, rtol=1e-3)


def test_initialization_on_a_constant_keeps_the_scale() -> None:
    x = np.ones((2, 3, 4, 3), "float32")
    layer = built(WeightNormDense(5), x)
    before = np.asarray(layer.scale)
    layer.initialize(x)
    np.testing.assert_array_equal(layer.scale, before)
    np.testing.assert_allclose(layer(x), 0, atol=1e-5)


@each_layer
def test_only_the_direction_of_a_kernel_matters(name: str) -> None:
    x = features(2, 4, 6, 3)
    layer = built(LAYERS[name](), x)
    expected = np.asarray(layer(x))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x) ** 2)
    kernel, gradient = numbers(layer.kernel), numbers(tape.gradient(loss, layer.kernel.value))
    # Along the kernel itself the outputs are constant.
    assert np.abs(gradient).max() > 0.1
    np.testing.assert_allclose((kernel * gradient).reshape(-1, 5).sum(0), 0, atol=1e-3)
    layer.kernel.assign(7 * layer.kernel)
    np.testing.assert_allclose(layer(x), expected, atol=1e-5)


@each_layer
def test_a_kernel_of_zeros_gives_the_bias_and_finite_gradients(name: str) -> None:
    x = features(2, 4, 6, 3)
    layer = built(LAYERS[name](), x)
    layer.kernel.assign(0 * layer.kernel)
    with tf.GradientTape() as tape:
        y = layer(x)
        loss = tf.reduce_sum(y**2)
    np.testing.assert_array_equal(y, np.broadcast_to(layer.bias, y.shape))
    for gradient in tape.gradient(loss, [weight.value for weight in layer.trainable_weights]):
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ShiftedConv2D(0, (2, 3), "down"), "filters=0"),
        (lambda: ShiftedConv2D(4, (2, 3), "up"), "'down' or 'down_right'"),
        (lambda: ShiftedConv2D(4, (2, 2), "down"), "the second one odd"),
        (lambda: ShiftedConv2D(4, (2, 2), "down_right", strides=3), "strides=3"),
        (lambda: ShiftedConv2D(4, (1, 3), "down", strides=2), "two rows or more"),
        (lambda: ShiftedConv2DTranspose(4, "right"), "'down' or 'down_right'"),
        (lambda: WeightNormDense(4, init_scale=0), "init_scale=0"),
        (lambda: GatedResNet(4, "left"), "'down' or 'down_right'"),
        (lambda: GatedResNet(4, "down")(features(1, 2, 3, 5)), "4 channels"),
        (lambda: GatedResNet(4, "down", takes_down=True)(features(1, 2, 3, 4)), "1 more"),
    ],
)
def test_bad_options_are_refused_with_a_remedy(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
