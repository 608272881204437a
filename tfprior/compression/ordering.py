"""The order in which the pixels of an image are coded: raster, or of any-order priors one that is declared.

Shapes: P positions of a grid.
"""

from typing import Any

import numpy as np

from tfprior.image_model import ImageModel
from tfprior.inputs import is_integer
from tfprior.orders import ORDERS, declared_orders
from tfprior.priors.any_order_transformer import AnyOrderTransformer

MOST_ORDERS = 256


def number_of(order: Any) -> int:
    """Which of the declared orders a name or number is.

    Raises:
        ValueError: for neither.
    """
    if isinstance(order, str) and order in ORDERS:
        return ORDERS.index(order)
    if not is_integer(order) or not 0 <= order < MOST_ORDERS:
        raise ValueError(
            f"order={order!r}; expected {', '.join(map(repr, ORDERS))}, or the number of a declared order in "
            f"[0, {MOST_ORDERS - 1}]."
        )
    return int(order)


def order_for(model: ImageModel, number: int) -> np.ndarray | None:
    """The positions (P,) in that order; None for raster order, which every model knows.

    Raises:
        ValueError: for another order than the model draws in.
    """
    if number == 0:
        return None
    if not isinstance(model, AnyOrderTransformer):
        raise ValueError(
            f"{type(model).__name__} codes pixels in raster order alone and got order {number}; leave it "
            "out, or train an AnyOrderTransformer."
        )
    return model.order_of(declared_orders(number + 1, model.grid_shape)[number])
