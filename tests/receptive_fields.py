"""Which values move which parameters, and which the masks of a prior let through.

Shapes: H W C grid · K levels · G channel groups.
"""

import itertools
import math

import numpy as np
import tensorflow as tf
from catalogue import condition_of, values_of

from tfprior.priors import GatedPixelCNN, PixelCNN, Prior


def jacobian(prior: Prior) -> np.ndarray:
    """Which value moves which logit: (H, W, C, K, H, W, C) bool."""
    height, width, channels = prior.grid_shape
    return dependence(prior).reshape(height, width, channels, -1, height, width, channels)


def dependence(prior: Prior) -> np.ndarray:
    """Which value moves which parameter, over a few grids: (H, W, P, H, W, C) bool.

    Values may be floats to the network. One backward pass does: example n of the batch carries parameter n.
    """
    height, width, channels = prior.grid_shape
    size = height * width * prior.distribution.num_params(channels)
    moved = np.zeros((size, height, width, channels), bool)
    for seed in range(4):
        values = tf.repeat(tf.constant(values_of(prior, 1, seed), "float32"), size, axis=0)
        condition = condition_of(prior, 1, seed)
        inputs = values if condition is None else {"values": values, "condition": condition.repeat(size, 0)}
        with tf.GradientTape() as tape:
            tape.watch(values)
            params = prior.call(inputs)  # which is not refused floats
            own = tf.linalg.diag_part(tf.reshape(params, (size, size)))
        moved |= tape.gradient(own, values).numpy() != 0
    return moved.reshape(height, width, -1, height, width, channels)


def permitted(grid: tuple[int, int, int]) -> np.ndarray:
    """What the chain rule lets each channel depend on: (H, W, C, H, W, C) bool."""
    order = np.arange(math.prod(grid)).reshape(grid)
    return order < order[..., None, None, None]


Reach = np.ndarray
"""(H, W, G, H, W, C) bool: which values have reached group g of the features at each pixel."""


def gathered(reach: Reach, rows: range, columns: range) -> Reach:
    """What lies in a window of whole pixels around each pixel, whatever the group: (H, W, H, W, C)."""
    height, width = reach.shape[:2]
    found = np.zeros((height, width, *reach.shape[3:]), bool)
    for y, x, dy, dx in itertools.product(range(height), range(width), rows, columns):
        if 0 <= y + dy < height and 0 <= x + dx < width:
            found[y, x] |= reach[y + dy, x + dx].any(0)
    return found


def own_pixel(reach: Reach, mask_type: str) -> Reach:
    """What the groups before each group hold at its own pixel; for type B its own group too."""
    groups = reach.shape[2]
    last = [group + (mask_type == "B") for group in range(groups)]
    return np.stack([reach[:, :, : last[group]].any(2) for group in range(groups)], 2)


def masked_conv(reach: Reach, size: int, mask_type: str) -> Reach:
    half = size // 2
    above = gathered(reach, range(-half, 0), range(-half, half + 1))
    left = gathered(reach, range(1), range(-half, 0))
    return (above | left)[:, :, None] | own_pixel(reach, mask_type)


def start(grid: tuple[int, int, int]) -> Reach:
    """Every channel's features hold its own value."""
    return np.eye(math.prod(grid), dtype=bool).reshape(*grid, *grid)


def reach_of_pixel_cnn(prior: PixelCNN) -> Reach:
    h = masked_conv(start(prior.grid_shape), prior.first_kernel_size, "A")
    for _ in range(prior.num_layers):
        h = h | own_pixel(masked_conv(own_pixel(h, "B"), prior.kernel_size, "B"), "B")
    return own_pixel(h, "B")


def reach_of_gated_pixel_cnn(prior: GatedPixelCNN) -> Reach:
    v = h = start(prior.grid_shape)
    skips = np.zeros_like(h)
    for index in range(prior.num_layers):
        size, mask_type = (prior.kernel_size, "B") if index else (prior.first_kernel_size, "A")
        half = size // 2
        above = gathered(v, range(-half, 0 if mask_type == "A" else 1), range(-half, half + 1))
        v = above[:, :, None]  # its channels are one group
        left = gathered(h, range(1), range(-half, 0))[:, :, None] | own_pixel(h, mask_type)
        gated = own_pixel(left | v, "B")
        skips = skips | gated
        h = gated if index == 0 else h | gated
    return own_pixel(skips, "B")


REACH = {PixelCNN: reach_of_pixel_cnn, GatedPixelCNN: reach_of_gated_pixel_cnn}


def assert_causal(prior: Prior) -> None:
    moved = jacobian(prior)
    reach = REACH[type(prior)](prior)
    assert not (reach & ~permitted(prior.grid_shape)).any()
    for level in range(moved.shape[3]):
        np.testing.assert_array_equal(moved[:, :, :, level], reach)
