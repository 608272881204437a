"""Small masked Transformers, masks for them, and what they make of grids.

Shapes: B batch · H W C grid, H ≠ W · G values of a position that are hidden apart · T tokens · P parameters.
"""

import functools
from typing import Any

import numpy as np
from catalogue import prior_like

from tfprior.compilation import compiled
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import MaskedTransformer

made = functools.partial(prior_like, MaskedTransformer)


def masks_of(prior: Any, count: int, seed: int = 0, rate: float = 0.5) -> np.ndarray:
    """(B, H, W, G)."""
    shape = (count, *prior.grid_shape[:2], prior.channel_groups)
    return np.random.default_rng(seed).random(shape) < rate


def params(prior: Any, values: Any, hidden: Any, condition: Any = None) -> np.ndarray:
    """Of each token: (B, T, P / G)."""
    found = compiled(network, prior, jit_compile=False)(values, hidden, condition)
    return np.asarray(found).reshape(len(values), prior.num_tokens, -1)


def network(prior: Any, values: Any, hidden: Any, condition: Any) -> Any:
    return prior.params(values, hidden, prior.encode_condition(condition))


TINY = [
    ((2, 2, 1), Categorical(3)),
    ((1, 2, 2), Categorical(3)),
    ((1, 2, 2), DiscretizedLogisticMixture(2, 3)),
]


def tiny(shape: Any, distribution: Any) -> Any:
    return prior_like(MaskedTransformer, shape, distribution=distribution)
