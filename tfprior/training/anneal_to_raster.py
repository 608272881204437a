"""From random orders to raster order while a prior learns (Yu et al. 2024, "RAR", arXiv:2411.00776)."""

from typing import Any

import keras

from tfprior.inputs import is_integer
from tfprior.priors.any_order_transformer import AnyOrderTransformer


class AnnealToRaster(keras.callbacks.Callback):
    """Lets an `AnyOrderTransformer` learn more and more examples in raster order, in the end all of them.

    Random orders teach it to look everywhere; raster order alone, at the end, is what it is sampled in then.
    Before epoch `start` every order is random, from epoch `end` on none, and in between the share falls
    evenly. What it knew of other orders fades.

    Args:
        start: the first epoch with examples in raster order.
        end: the first epoch without any other.

    Raises:
        ValueError: for epochs that are none, and in `fit` for another model.
    """

    def __init__(self, start: int, end: int) -> None:
        super().__init__()
        if not (is_integer(start) and is_integer(end)) or not 0 <= start < end:
            raise ValueError(f"AnnealToRaster got start={start} and end={end}; expected 0 ≤ start < end.")
        self.start, self.end = start, end

    def on_train_begin(self, logs: Any = None) -> None:
        model = self.model
        if not isinstance(model, AnyOrderTransformer) or model.trained_orders != "random":
            raise ValueError(
                f"AnnealToRaster got a {type(model).__name__}; expected an AnyOrderTransformer that learns "
                "random orders."
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        share = (epoch - self.start + 1) / (self.end - self.start + 1)
        self.model.raster_share.assign(min(max(share, 0.0), 1.0))
