"""Which weights of MAE and SimMIM others store beside those of the encoder.

Shapes: s side of a patch that is predicted · C channels · D features.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tfprior.encoders.weights_parts import TOKENS, Layout, Part, around, block_parts, dense, norm
from tfprior.pretraining.decoder import PatchDecoder


def decoder_parts(decoder: PatchDecoder) -> list[Part]:
    """Those of the decoder of MAE."""
    blocks = (
        part for index, block in enumerate(decoder.blocks) for part in block_parts(block, {"block": index})
    )
    # A row of zeros stands for the class token.
    positions = np.pad(decoder.positions, ((decoder.num_class_tokens, 0), (0, 0)))
    return [
        Part((decoder.mask_token,), ("decoder_mask_token",), layout=TOKENS, is_around=True),
        Part((positions,), ("decoder_positions",), layout=TOKENS, is_around=True),
        *around(dense([decoder.embed], ["embed"]), "decoder_"),
        *around(blocks, "decoder_"),
        *around(norm(decoder.norm, "norm"), "decoder_"),
        *around(dense([decoder.predict], ["predict"]), "decoder_"),
    ]


def simmim_parts(model: Any) -> Iterator[Part]:
    """The mask token of SimMIM, which stands among the encoder's, and its head."""
    yield Part((model.mask_token,), ("mask_token",), layout=TOKENS)
    channels = model.encoder.image_shape[2]
    yield Part((model.head.kernel,), ("pixels",), ".weight", shuffled(model.stride, channels), is_around=True)
    yield Part((model.head.bias,), ("pixels",), ".bias", shuffled(model.stride, channels), is_around=True)


def shuffled(side: int, channels: int) -> Layout:
    """A kernel (C · s · s, D, 1, 1) before a pixel shuffle and (D, s · s · C), or biases of either."""

    def ours(x: np.ndarray) -> np.ndarray:
        by_pixel = x.reshape(channels, side, side, -1).transpose(1, 2, 0, 3)  # (s, s, C, D)
        return by_pixel.reshape(len(x), -1).T if x.ndim > 1 else by_pixel.reshape(-1)

    def theirs(x: np.ndarray) -> np.ndarray:
        by_pixel = x.T.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
        return by_pixel.reshape(x.shape[-1], -1, 1, 1) if x.ndim > 1 else by_pixel.reshape(-1)

    return Layout(ours, theirs)
