"""Fixed-point sampling: all pixels at once, from what they were before, until nothing changes.

With the noise held fixed a sample is the solution of x = f(x, u), where f draws every pixel given those
before it in x. Jacobi iteration finds it: each run of the network settles at least one more value, and mostly
many (Song et al. 2021, arXiv:2002.03629; Wiggers & Hoogeboom 2020, arXiv:2002.09928).

Shapes: B batch · H W C grid.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.distributions.base import Tensor
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.progress import progress_bar
from tfprior.sampling.request import Request
from tfprior.sharding import AT_ONCE, rounded


class ParallelSamples(NamedTuple):
    """What fixed-point sampling drew, and what it took.

    Attributes:
        values: (B, H, W, C) int32.
        runs: (B,) int32, how often the network ran until the example stood still: over the whole grid, or by
            rows over a row.
    """

    values: np.ndarray
    runs: np.ndarray


def iterate(prior: AutoregressivePrior, request: Request, progress: bool = False) -> ParallelSamples:
    """Refines all grids until they stand still; one that does is left out of the runs to come."""
    count = len(request.uniforms)
    values, runs = np.zeros((count, *prior.grid_shape), "int32"), np.zeros(count, "int32")
    if request.observed is not None:
        values[:] = request.observed
    run = compiled(refine, prior.for_sampling())
    with progress_bar("drawing", count, progress) as move:
        for moving in np.array_split(np.arange(count), -(-count // AT_ONCE)):
            size = rounded(len(moving))
            for index in range(prior.num_steps * prior.channel_groups):
                # A power of two examples, some of them twice: few sizes to compile for.
                rows = np.resize(moving, min(size, 1 << (len(moving) - 1).bit_length()))
                asked = request.examples(rows).in_halves(prior)
                drawn, nats = run(values[np.resize(rows, len(asked.uniforms))], asked)
                check_drawn(nats)
                drawn = ops.convert_to_numpy(drawn)[: len(moving)]
                moved = (drawn != values[moving]).any((1, 2, 3))
                values[moving] = drawn
                runs[moving] += 1
                moving = moving[moved]
                move(len(moved) - len(moving), f"drawing, run {index + 1}")
                if not len(moving):
                    break
    return ParallelSamples(values, runs)


def refine(prior: AutoregressivePrior, values: Tensor, request: Request) -> tuple[Tensor, Tensor]:
    """f(x, u), every pixel drawn given those before it in `values` (B, H, W, C), and its nats (B, H, W)."""
    params = prior.params_along(values, request.condition, request.order)
    drawn, nats = prior.distribution.sample(params, request.uniforms, request.options.spread(2))
    return request.complete(drawn, nats)


def check_drawn(nats: Tensor) -> None:
    """Raises ValueError for nats that are none: a model that gives NaN draws one level everywhere."""
    if np.isnan(ops.convert_to_numpy(nats)).any():
        raise ValueError("The prior gives NaN, so its training diverged; load a prior from before.")
