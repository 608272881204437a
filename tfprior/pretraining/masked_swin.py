"""A Swin over whole images whose tokens see no hidden ones: GreenMIM's features, by masks that are tensors.

Visible tokens become what `VisibleSwin` makes of them, at the cost of all, and nothing is planned ahead.

Shapes: B batch · H W C image · U units · N tokens of a stage's map · D features · G windows · n tokens of a
window · h heads.
"""

from typing import Any

import numpy as np
from keras import ops

from tfprior.encoders.swin import Swin
from tfprior.layers.key_value_cache import HIDDEN
from tfprior.layers.swin_block import SwinBlock
from tfprior.layers.windows import OverWindows


def encode_masked(swin: Swin, images: Any, hidden: Any, unit_map: tuple[int, int]) -> Any:
    """Scaled images (B, H, W, C), and units that are hidden (B, U) bool → features (B, N, D).

    Those of hidden places stand for nothing.
    """
    x = swin.embed(images)
    for index, stage in enumerate(swin.stages):
        tokens = of_tokens(hidden, unit_map, swin.image_shape[0] // (swin.patch_size << index))
        for block in stage.blocks:
            x = block.run(x, OverWindows(block.windows, bias_where(block, tokens)))
        if stage.merging is not None:  # which joins tokens of one unit
            x = stage.merging(x)
    return swin.norm(x)


def of_tokens(of_units: Any, unit_map: tuple[int, int], height: int) -> Any:
    """What units have (B, U), of the tokens in them on a map of that height: (B, N, 1) float32."""
    (down, across), side = unit_map, height // unit_map[0]
    x = ops.reshape(ops.cast(of_units, "float32"), (-1, down, 1, across, 1))
    x = x * np.ones((side, 1, side), "float32")  # few runtimes know how to repeat
    return ops.reshape(x, (-1, down * side * across * side, 1))


def bias_where(block: SwinBlock, hidden: Any) -> Any:
    """The bias of a block's attention, keys that are 1 in (B, N, 1) hidden: (B, G, h, n, n)."""
    windows = block.windows
    keys = ops.transpose(windows.split(hidden), (0, 1, 3, 2))[:, :, None]  # (B, G, 1, 1, n)
    bias = ops.cast(block.position_bias.of(windows.index), "float32") + keys * HIDDEN
    return bias if windows.mask is None else bias + windows.mask
