"""PixelCNN++ beside an independent implementation: TensorFlow Probability's network with its weights copied.

Where the two architectures differ, and what the copying does about it:

    | | TFP | tfprior | here |
    | --- | --- | --- | --- |
    | kernels | 3×3 and 4×4 with masks | 2×3 and 2×2 without zeros | the part that is not masked |
    | channel of ones | none | one for each channel | its weights are 0 |
    | first layers | bias in the first row, column | zeros are moved in, as in the paper | biases 0 |
    | 1×1 into the down-right stream | one over [down, short-cut] | one for each | cut in two |
    | output | scale = softplus + e^-7, coupling as it is | exp(max(·, -7)), tanh | converted |
    | parameters | component after component | means of all components, … | reordered |
"""

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from catalogue import integers

from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.priors import PixelCNNPP

COMPONENTS, FILTERS, LEVELS = 2, 4, 256


def numbered(name: str, kind: str) -> int:
    """conv2d → 0, conv2d_7 → 7: the order in which TFP made its layers."""
    return int(re.fullmatch(rf"{kind}_?(\d*)", name)[1] or 0)


def layers_of(network: Any, kind: str) -> list[Any]:
    named = [layer for layer in network.layers if re.fullmatch(rf"{kind}(_\d+)?", layer.name)]
    return sorted(named, key=lambda layer: numbered(layer.name, kind))


def twins(
    grid: tuple[int, int, int], num_layers: int, num_stages: int, head: float = 0.3
) -> tuple[Any, PixelCNNPP]:
    """TFP's PixelCNN and ours, with the same weights; `head` is the size of the last ones."""
    theirs = tfp.distributions.PixelCNN(
        grid,
        num_resnet=num_layers,
        num_hierarchies=num_stages,
        num_filters=FILTERS,
        num_logistic_mix=COMPONENTS,
        dropout_p=0.0,
        use_weight_norm=False,
    )
    distribution = DiscretizedLogisticMixture(COMPONENTS, LEVELS)
    ours = PixelCNNPP(grid, distribution, FILTERS, num_layers, num_stages, dropout=0.0, weight_norm=False)
    generator = np.random.default_rng(0)
    network = theirs.network._network
    convs = iter(layers_of(network, "conv2d"))
    denses = iter(layers_of(network, "dense"))
    grows = iter(layers_of(network, "conv2d_transpose"))

    def draw(layer: Any, rows: slice, columns: slice, bias: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Random weights for their layer, zero where it is masked: the kernel's other part, and the bias."""
        shape = layer.kernel.shape
        mask = np.zeros(shape)
        mask[rows, columns] = 1
        scale = 1.2 / np.sqrt(np.prod(mask[..., 0].shape[2:]) * mask[..., 0, 0].sum())
        kernel = generator.normal(0, scale, shape) * mask
        offset = generator.normal(0, 0.3 * bias, layer.bias.shape)
        layer.set_weights([kernel, offset])
        return kernel[rows, columns], offset

    def copy(layer: Any, rows: slice, columns: slice, into: Any) -> None:
        kernel, bias = draw(layer, rows, columns)
        into.kernel.assign(kernel)
        into.bias.assign(bias)

    # Values and ones take turns among our inputs.
    for into, rows, columns in (
        (ours.rows_above, slice(0, 2), slice(None)),
        (ours.row_above, slice(0, 1), slice(None)),
        (ours.pixel_left, slice(0, 2), slice(0, 1)),
    ):
        kernel, bias = draw(next(convs), rows, columns, bias=False)
        with_ones = np.zeros(into.kernel.shape)
        with_ones[:, :, ::2] = kernel
        into.kernel.assign(with_ones)
        into.bias.assign(bias)

    def copy_dense(*into: Any) -> None:
        """[a, b, −a, −b] → a layer on [a, −a], one on [b, −b]."""
        layer = next(denses)
        kernel = generator.normal(0, 0.6 / np.sqrt(layer.kernel.shape[0]), layer.kernel.shape)
        bias = generator.normal(0, 0.3, layer.bias.shape)
        layer.set_weights([kernel, bias])
        parts = kernel.reshape(2, len(into), FILTERS, -1)
        for index, one in enumerate(into):
            one.kernel.assign(parts[:, index].reshape(2 * FILTERS, -1))
            one.bias.assign(bias if index == 0 else 0 * bias)

    stages = list(zip(ours.down.stages(), ours.right.stages(), strict=True))
    window = {"down": (slice(0, 2), slice(0, 3)), "down_right": (slice(0, 2), slice(0, 2))}

    def copy_blocks(blocks: Any) -> None:
        for pair in blocks:
            for block in pair:
                dense = [layer for layer in (block.from_down, block.from_shortcut) if layer is not None]
                copy(next(convs), *window[block.direction], block.conv)
                if dense:
                    copy_dense(*dense)
                copy(next(convs), *window[block.direction], block.gates)

    for down, right in stages:
        copy_blocks(zip(down.encoder, right.encoder, strict=True))
        for stage in (down, right):
            if stage.shrink is not None:
                copy(next(convs), *window[stage.shrink.direction], stage.shrink)
    for down, right in reversed(stages):
        for stage in (down, right):
            if stage.grow is not None:
                # Theirs lies as (rows, columns, out, in).
                layer = next(grows)
                width = 3 if stage.grow.direction == "down" else 2
                kernel, bias = draw(layer, slice(0, 2), slice(0, width))
                stage.grow.kernel.assign(kernel.transpose(0, 1, 3, 2))
                stage.grow.bias.assign(bias)
        copy_blocks(zip(down.decoder, right.decoder, strict=True))
    last = next(denses)
    kernel = generator.normal(0, head, last.kernel.shape)
    bias = generator.normal(0, head, last.bias.shape)
    last.set_weights([kernel, bias])
    order = ours_from_theirs(grid[-1])
    ours.head.kernel.assign(kernel[:, order])
    ours.head.bias.assign(bias[order])
    assert not [*convs, *denses, *grows]
    return theirs, ours


def ours_from_theirs(channels: int) -> np.ndarray:
    """Where each of our parameters stands among theirs."""
    pairs = channels * (channels - 1) // 2
    theirs = np.arange(COMPONENTS * (1 + 2 * channels + pairs)).reshape(COMPONENTS, -1)
    return theirs.T.reshape(-1)


def grids(grid: tuple[int, int, int]) -> np.ndarray:
    return integers(3, *grid, top=LEVELS)


MODELS = [((4, 8, 1), 1, 3), ((4, 6, 3), 2, 2), ((5, 3, 3), 1, 1)]


@pytest.mark.parametrize(("grid", "num_layers", "num_stages"), MODELS, ids=str)
def test_the_network_gives_tfps_parameters(grid: Any, num_layers: int, num_stages: int) -> None:
    theirs, ours = twins(grid, num_layers, num_stages)
    values = grids(grid)
    logits, means, scales, *coefficients = theirs.network(2 / 255 * values.astype("float32") - 1)
    rows = np.asarray(ours(values)).reshape(*values.shape[:3], -1, COMPONENTS)
    rows = np.moveaxis(rows, -1, -2)  # (…, M, 1 + 2C + pairs)
    channels = grid[-1]
    np.testing.assert_allclose(rows[..., 0], logits, atol=2e-5)
    np.testing.assert_allclose(rows[..., 1 : channels + 1], means, atol=2e-5)
    raw = rows[..., channels + 1 : 2 * channels + 1]
    np.testing.assert_allclose(np.logaddexp(0, raw) + np.exp(-7), scales, atol=2e-5)
    if coefficients:
        np.testing.assert_allclose(rows[..., 2 * channels + 1 :], coefficients[0], atol=2e-5)


@pytest.mark.parametrize(("grid", "num_layers", "num_stages"), MODELS, ids=str)
def test_the_likelihood_of_the_same_parameters_is_tfps(grid: Any, num_layers: int, num_stages: int) -> None:
    theirs, ours = twins(grid, num_layers, num_stages, head=0.05)  # couplings below 1, where tanh reaches
    values = grids(grid)
    logits, means, scales, *coefficients = (
        np.asarray(part) for part in theirs.network(2 / 255 * values.astype("float32") - 1)
    )
    parts = [logits[..., None], means, np.log(scales), *(np.arctanh(part) for part in coefficients)]
    assert np.isfinite(np.concatenate(parts, -1)).all()
    params = np.moveaxis(np.concatenate(parts, -1), -1, -2).reshape(*values.shape[:3], -1)
    nats = tf.reduce_sum(ours.distribution.log_prob(params, values), (1, 2))
    expected = theirs.log_prob(values.astype("float32"))
    np.testing.assert_allclose(nats, expected, rtol=1e-5, atol=1e-4)
