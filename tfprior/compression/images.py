"""The images of a batch: the grids of each prior in turn, then of a model through codes the pixels.

Shapes: B batch · H W C images · L levels · P parameters of a pixel.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.compression.coder import Coder
from tfprior.compression.steps import code_grids
from tfprior.distributions.base import Tensor
from tfprior.image_model import ImageModel


def code_images(
    model: ImageModel,
    coder: Coder,
    images: np.ndarray | None,
    count: int,
    batch_size: int,
    condition: np.ndarray | None,
    tick: Callable[[], None],
    order: np.ndarray | None = None,
) -> np.ndarray:
    """As `code_grids`, for the bits of `model.log_prob`; a tick after each step of a prior and each row."""
    known = None if images is None else model.grids_of(images)
    grids: list[np.ndarray] = []
    for index, prior in enumerate(model.chain()):
        its_condition = model.condition_of(grids, condition)
        if its_condition is not None:
            its_condition = ops.convert_to_numpy(its_condition)
        its_own = None if known is None else known[index]
        grids.append(code_grids(prior, coder, its_own, count, batch_size, its_condition, tick, order))
    if model.tokenizer is None:
        return grids[-1]
    return _code_pixels(model.tokenizer, coder, grids, images, count, tick)


def num_ticks(model: ImageModel) -> int:
    """How many ticks the images of one batch take."""
    return sum(prior.num_steps for prior in model.chain()) + (model.grid_shape[0] if model.tokenizer else 0)


def _code_pixels(
    tokenizer: Any,
    coder: Coder,
    codes: list[np.ndarray],
    images: np.ndarray | None,
    count: int,
    tick: Callable[[], None],
) -> np.ndarray:
    """Images (B, H, W, C) given their codes, row by row and channel by channel."""
    height, width, channels = tokenizer.grid_shape
    params = compiled(_params, tokenizer)(*codes)
    drawn = np.zeros((len(codes[0]), height, width, channels), "int32")
    for y in range(height):
        for channel in range(channels):
            predict = compiled(_row(channel), tokenizer)
            probabilities = ops.convert_to_numpy(predict(params, drawn[:, y], np.int32(y)))[:count]
            values = None if images is None else images[:, y, :, channel].reshape(-1)
            coded = coder(probabilities.reshape(count * width, -1), values)
            drawn[:count, y, :, channel] = coded.reshape(count, width)
        tick()
    return drawn


def _params(tokenizer: Any, *codes: Tensor) -> Tensor:
    return tokenizer.params(tokenizer.codes_of(codes))


@functools.cache
def _row(channel: int) -> Callable[..., Tensor]:
    """A channel of a row, given the channels before it."""

    def predict(tokenizer: Any, params: Tensor, row: Tensor, y: Tensor) -> Tensor:
        """Parameters (B, H, W, P), the row (B, W, C) as far as it is known → probabilities (B, W, L)."""
        return tokenizer.distribution.probabilities(ops.take(params, y, axis=1), row, channel)

    return predict
