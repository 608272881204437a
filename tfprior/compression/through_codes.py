"""Images by way of a tokenizer's codes: the codes by their prior, then the pixels by the decoder.

Shapes: B batch · H W C images · L levels · P parameters of a pixel.
"""

import functools
from collections.abc import Callable

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.compression.coder import Coder
from tfprior.compression.steps import code_grids
from tfprior.distributions.base import Tensor
from tfprior.generator import Generator
from tfprior.tokenizers.base import Tokenizer


def code_images(
    generator: Generator,
    coder: Coder,
    images: np.ndarray | None,
    count: int,
    batch_size: int,
    condition: np.ndarray | None,
    tick: Callable[[], None],
) -> np.ndarray:
    """As `code_grids`, for the bits of `Generator.log_prob`; a tick after each code and row of pixels."""
    tokenizer = generator.tokenizer
    height, width, channels = tokenizer.image_shape
    chosen = None if images is None else tokenizer.grids_of(tokenizer.encode(images, batch_size))
    codes: list[np.ndarray] = []
    for index, prior in enumerate(generator.priors):
        given = generator.condition_of(codes, condition)
        given = None if given is None else ops.convert_to_numpy(given)
        its_own = None if chosen is None else chosen[index]
        codes.append(code_grids(prior, coder, its_own, count, batch_size, given, tick))
    params = compiled(_params, tokenizer)(*codes)
    drawn = np.zeros((batch_size, height, width, channels), "int32")
    for y in range(height):
        for channel in range(channels):
            predict = compiled(_row(channel), tokenizer)
            probabilities = ops.convert_to_numpy(predict(params, drawn[:, y], np.int32(y)))[:count]
            known = None if images is None else images[:, y, :, channel].reshape(-1)
            values = coder(probabilities.reshape(count * width, -1), known)
            drawn[:count, y, :, channel] = values.reshape(count, width)
        tick()
    return drawn


def _params(tokenizer: Tokenizer, *codes: Tensor) -> Tensor:
    return tokenizer.params(tokenizer.codes_of(codes))


@functools.cache
def _row(channel: int) -> Callable[..., Tensor]:
    """A channel of a row, given the channels before it."""

    def predict(tokenizer: Tokenizer, params: Tensor, row: Tensor, y: Tensor) -> Tensor:
        """Parameters (B, H, W, P), the row (B, W, C) as far as it is known → probabilities (B, W, L)."""
        return tokenizer.distribution.probabilities(ops.take(params, y, axis=1), row, channel)

    return predict
