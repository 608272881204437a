"""Noise for samplers, what they draw from it, and the definition of a sample in NumPy.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

import itertools
from typing import Any

import numpy as np
from catalogue import values_of

from tfprior import compilation
from tfprior.priors import Prior
from tfprior.sampling.loops import Drawn, Loop
from tfprior.sampling.request import Request
from tfprior.sampling.running import model_for

SIZE = 16


def noise(prior: Prior, count: int = SIZE, seed: int = 0) -> np.ndarray:
    height, width, channels = prior.grid_shape
    shape = (count, height, width, prior.distribution.num_uniforms(channels))
    return np.random.default_rng(seed).random(shape, "float32")


def assert_same_integers(actual: Any, expected: Any) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    flipped = int((actual != expected).sum())
    assert flipped == 0, f"{flipped} of {actual.size} values differ"


def drawn_by(loop: Loop, prior: Prior, uniforms: np.ndarray, condition: Any = None, **options: Any) -> Drawn:
    """What a loop draws; not compiled, which for so few pixels takes longer than drawing."""
    request = Request.of(prior, len(uniforms), condition, uniforms, **options)
    drawn = loop.draw(model_for(prior, loop), request)
    return Drawn(*(None if part is None else np.asarray(part) for part in drawn))


def network(prior: Prior, values: Any, condition: Any) -> Any:
    return prior(values if condition is None else {"values": values, "condition": condition})


def by_definition(prior: Prior, uniforms: np.ndarray, condition: Any = None) -> np.ndarray:
    """The definition once more, in NumPy: the network for every channel of every pixel, inverse CDF."""
    values = np.zeros((len(uniforms), *prior.grid_shape), "int32")
    levels, params = prior.distribution.num_levels, compilation.compiled(network, prior, jit_compile=False)
    for y, x, c in itertools.product(*map(range, prior.grid_shape)):
        logits = np.asarray(params(values, condition), "float64").reshape(*values.shape, levels)[:, y, x, c]
        cdf = np.cumsum(np.exp(logits), -1)
        values[:, y, x, c] = (cdf <= uniforms[:, y, x, c, None] * cdf[:, -1:]).sum(-1)
    return values


def completion(prior: Prior) -> dict[str, np.ndarray]:
    """Every example with its own hidden pixels."""
    mask = np.random.default_rng(3).random((SIZE, *prior.grid_shape[:2])) < 0.5
    mask[0], mask[1] = True, False
    return {"observed": values_of(prior, SIZE, seed=4), "mask": mask}
