"""PixelCNN++ is causal both ways through its stages: which values move which parameters.

Shapes: H W C grid, H ≠ W.
"""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import EVEN_COLOUR, batch_of
from receptive_fields import dependence, jacobian, permitted
from small_pixelcnn_pp import MIXTURE, model, small

from tfprior.distributions import Categorical
from tfprior.priors import PixelCNNPP

Reach = np.ndarray
"""(H', W', H, W) bool: which pixels have reached each position of a stage."""


def window(reach: Reach, rows: range, columns: range, strides: int = 1) -> Reach:
    """What lies in a window around each position, or each second one."""
    height, width = reach.shape[:2]
    found = np.zeros((height // strides, width // strides, *reach.shape[2:]), bool)
    for y, x, dy, dx in itertools.product(*map(range, found.shape[:2]), rows, columns):
        row, column = strides * y + dy, strides * x + dx
        if 0 <= row < height and 0 <= column < width:
            found[y, x] |= reach[row, column]
    return found


def repeated(reach: Reach, reaches_left: bool) -> Reach:
    """Every position as four; with `reaches_left` the odd columns also hold the next position."""
    found = reach.repeat(2, 0).repeat(2, 1)
    if reaches_left:
        found[:, 1:-1:2] |= reach.repeat(2, 0)[:, 1:]
    return found


def reach_of_stream(
    x: Reach, prior: PixelCNNPP, stage: int, columns: range, joining: list[Reach]
) -> tuple[Reach, list[Reach]]:
    """A stage and those below; `joining` is what comes from the down stream, block by block."""
    visited: list[Reach] = []

    def block(x: Reach, shortcut: Reach | None = None) -> Reach:
        h = window(x, range(-1, 1), columns)
        if shortcut is not None:
            h = h | shortcut
        if joining:
            h = h | joining.pop(0)
        x = x | window(h, range(-1, 1), columns)
        visited.append(x)
        return x

    shortcuts = [x]
    for _ in range(prior.num_layers):
        x = block(x)
        shortcuts.append(x)
    if stage + 1 < prior.num_stages:
        inside, inner = reach_of_stream(
            window(x, range(-1, 1), columns, strides=2), prior, stage + 1, columns, joining
        )
        visited.extend(inner)
        x = repeated(inside, reaches_left=columns.stop == 2)
    else:
        x = shortcuts.pop()
    while shortcuts:
        x = block(x, shortcuts.pop())
    return x, visited


def reach_of(prior: PixelCNNPP) -> Reach:
    height, width = prior.grid_shape[:2]
    pixels = np.eye(height * width, dtype=bool).reshape(height, width, height, width)
    sideways = range(-1, 2)
    _, down = reach_of_stream(window(pixels, range(-2, 0), sideways), prior, 0, sideways, [])
    right = window(pixels, range(-1, 0), sideways) | window(pixels, range(-1, 1), range(-1, 0))
    return reach_of_stream(right, prior, 0, range(-1, 1), down)[0]


def assert_causal(prior: PixelCNNPP) -> None:
    channels = prior.grid_shape[-1]
    reach = reach_of(prior)
    moved = jacobian_by_pixel(prior)
    order = permitted((*prior.grid_shape[:2], 1))[:, :, 0, :, :, 0]
    assert not (reach & ~order).any()
    for channel, other in np.ndindex(channels, channels):
        expected = reach
        if prior.channel_groups > 1 and other < channel:
            expected = reach | np.eye(prior.num_steps, dtype=bool).reshape(reach.shape)
        np.testing.assert_array_equal(moved[:, :, channel, :, :, other], expected)


def jacobian_by_pixel(prior: PixelCNNPP) -> np.ndarray:
    """Which channel's value moves any parameter of which channel: (H, W, C, H, W, C) bool."""
    if prior.channel_groups > 1:
        return jacobian(prior).any(3)
    return np.stack([dependence(prior).any(2)] * prior.grid_shape[-1], 2)


CAUSAL = ["grey", "grey, three stages, labels", "grey, two layers, maps", "colour, mixture"]


@pytest.mark.slow("two layers", "[colour, mixture]")
@pytest.mark.parametrize("name", [*CAUSAL, "colour, categorical, vectors"])
def test_parameters_depend_on_exactly_the_receptive_field(name: str) -> None:
    assert_causal(model(name))


@pytest.mark.slow("categorical")
@pytest.mark.parametrize("distribution", [Categorical(4), MIXTURE], ids=["categorical", "mixture"])
def test_training_and_saving_keep_causality(distribution: Any, tmp_path: Path) -> None:
    prior = small(EVEN_COLOUR, distribution=distribution)
    prior.compile(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1), run_eagerly=True)
    prior.fit(batch_of(prior, 6), batch_size=6, verbose=0)
    assert_causal(prior)
    prior.save(tmp_path / "prior.keras")
    assert_causal(keras.saving.load_model(tmp_path / "prior.keras"))
