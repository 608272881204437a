"""Small PixelCNN++ of every kind."""

import functools
from typing import Any

import catalogue
from catalogue import EVEN_COLOUR, GREY, prior_like

from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.priors import PixelCNNPP

DEEP = (4, 8, 1)
MIXTURE = DiscretizedLogisticMixture(2, 4)
small = functools.partial(catalogue.prior, PixelCNNPP)


def fresh(*shape: Any, **changes: Any) -> PixelCNNPP:
    """A small prior as it is built."""
    return PixelCNNPP(**catalogue.arguments(PixelCNNPP, *shape, **changes))


MODELS = {
    "grey": {"grid_shape": GREY},
    "grey, one stage": {"grid_shape": (3, 5, 1), "num_stages": 1},
    "grey, three stages, labels": {"grid_shape": DEEP, "num_stages": 3, "condition": "labels"},
    "grey, two layers, maps": {"grid_shape": GREY, "num_layers": 2, "condition": "maps"},
    "colour, mixture": {"grid_shape": EVEN_COLOUR, "distribution": MIXTURE},
    "colour, categorical, vectors": {"grid_shape": EVEN_COLOUR, "condition": "vectors"},
    "colour, three stages, mixture, maps": {
        "grid_shape": (8, 4, 3),
        "num_stages": 3,
        "distribution": MIXTURE,
        "condition": "maps",
    },
    "colour, embedded codes": {"grid_shape": EVEN_COLOUR, "value_embedding_dim": 3},
    "one row of pixels at the lowest stage": {"grid_shape": (4, 4, 1), "num_stages": 3},
}


def model(name: str) -> PixelCNNPP:
    given = dict(MODELS[name])
    grid, condition = given.pop("grid_shape"), given.pop("condition", "none")
    return prior_like(PixelCNNPP, grid, condition, **given)
