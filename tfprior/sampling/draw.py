"""What users call to draw samples.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

from collections.abc import Iterator
from typing import Any, Literal, Unpack

import numpy as np

from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.base import Prior
from tfprior.progress import progress_bar
from tfprior.sampling.loops import Loop
from tfprior.sampling.parallel import ParallelSamples, iterate
from tfprior.sampling.request import Request, RequestOptions
from tfprior.sampling.running import draw_grids, draw_rows, fastest, iterates, sampler_of, way_of
from tfprior.sharding import AT_ONCE, shards

Method = Literal[
    "cached", "parallel", "parallel_rows", "windowed", "full", "auto", "sequential", "maskgit", "halton"
]
RowMethod = Literal["cached", "parallel_rows", "full"]


def sample(
    prior: Prior,
    num_samples: int,
    condition: Any = None,
    uniforms: Any = None,
    seed: int | None = None,
    method: Method | None = None,
    temperature: Any = 1.0,
    top_k: Any = None,
    top_p: Any = None,
    observed: Any = None,
    mask: Any = None,
    order: Any = None,
    iterations: int | None = None,
    progress: bool = False,
    guidance: Any = None,
    window: int | None = None,
) -> np.ndarray:
    """Draws grids from the prior: (num_samples, H, W, C) int32, the same by every exact method.

    Args:
        prior: any prior.
        num_samples: how many grids, B.
        condition: one row for each sample, for a conditional prior.
        uniforms: the noise (B, H, W, K) in [0, 1); drawn from `seed` when left out. K is that of the prior's
            distribution, or by "maskgit" of all its iterations.
        seed: of the noise, in [0, 2^64), for samples that repeat, here and in every client of a bundle. In
            any batch the n-th sample has the same noise. Without one, `keras.utils.set_random_seed` makes a
            program's samples repeat.
        method: "cached", the usual one, streams in one compiled graph and costs a few forward passes in all.
            "parallel" draws all pixels at once, again and again until nothing changes (`sample_parallel`),
            "parallel_rows" row by row, "windowed" from a Transformer a few positions behind those that its
            cache holds. "full" runs the network anew for every pixel: the definition that all are tested
            against. "auto" is "cached" on the CPU; on an accelerator it measures "cached" and
            "parallel" the first time, and keeps the faster. From a masked prior "sequential", the usual one,
            draws the values one by one, exactly. In fewer passes, and not quite from the prior, "maskgit"
            draws many at once and keeps the most probable, "halton" those that lie far apart.
        temperature: below 1 sharpens, above 1 flattens every distribution; a number, or one for each sample.
        top_k: draws from the `top_k` most probable values of a channel only; likewise.
        top_p: draws from the fewest values that hold a probability `top_p` only; likewise.
        observed: known grids (B, H, W, C) to complete.
        mask: True where a pixel of `observed` is hidden and is to be drawn, (H, W) or (B, H, W): drawn given
            what comes before it in raster order. Known pixels that come after it have no say, but of an
            any-order prior, which places all that is known first.
        order: of an any-order prior, or a masked one by "sequential": "raster", "halton", or positions
            y · W + x, (P,) or (B, P).
        iterations: of "maskgit", 8 when left out, and "halton", 32.
        progress: whether a bar is shown, where there is a terminal.
        guidance: w of classifier-free guidance (arXiv:2207.12598), of a prior with condition_dropout: draws
            from (1 + w) · conditional − w · unconditional logits; a number, or one for each sample.
        window: how many positions "windowed" asks for at once, 8 when left out.

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and unknown methods.
    """
    sampler, by_iteration = way_of(prior, method, iterations, window)
    request = Request.of(
        prior,
        num_samples,
        condition,
        uniforms,
        seed,
        temperature,
        top_k,
        top_p,
        observed,
        mask,
        sampler.order_for(order),
        sampler.num_uniforms(prior),
        guidance,
    )
    if by_iteration and (method == "parallel" or fastest(prior, request) == "parallel"):
        return iterate(prior, request, progress).values
    if not progress or not isinstance(sampler, Loop):
        return draw_grids(prior, sampler, request).values
    groups, grids = shards(num_samples, 1, most=AT_ONCE), []
    with progress_bar("drawing", len(groups) * prior.grid_shape[0]) as move:
        for group in groups:
            rows = []
            for row in draw_rows(prior, sampler, request.examples(group)):
                rows.append(row)
                move()
            grids.append(np.stack(rows, axis=1))
    return np.concatenate(grids)[:num_samples]


def sample_rows(
    prior: Prior,
    num_samples: int,
    method: RowMethod | None = None,
    **options: Unpack[RequestOptions],
) -> Iterator[np.ndarray]:
    """Draws what `sample` draws, and gives every row (num_samples, W, C) as soon as it is finished.

    The methods are those of `sample` that go row by row: all but "parallel".

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and other methods.
    """
    loop = sampler_of(prior, method)
    if not isinstance(loop, Loop):
        raise ValueError(
            f"{type(prior).__name__} draws no row before the others; expected a prior in raster order: use "
            "`sample`."
        )
    return draw_rows(prior, loop, Request.of(prior, num_samples, **options))


def sample_parallel(
    prior: AutoregressivePrior,
    num_samples: int,
    by_rows: bool = False,
    progress: bool = False,
    window: int | None = None,
    **options: Unpack[RequestOptions],
) -> ParallelSamples:
    """Draws what `sample` draws by fixed-point iteration, and tells how many runs each sample took.

    Either over the whole grid (at most one run of the network for each value), or `by_rows`, or of a
    Transformer over a `window` of so many positions behind those that its cache holds; these two show no
    progress.

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and a bar of what has none.
    """
    if by_rows and progress:
        raise ValueError(
            'Got by_rows=True and progress=True; expected one of them: sample(method="parallel_rows", '
            "progress=True) draws the same and shows a bar."
        )
    if window is not None and (by_rows or progress):
        raise ValueError(f"Got window={window} and by_rows or progress; expected the window alone.")
    if not iterates(prior):
        raise ValueError(
            f"{type(prior).__name__} has no order in which positions know those before them, so that nothing "
            "can be iterated; use `sample`."
        )
    request = Request.of(prior, num_samples, **options)
    if not by_rows and window is None:
        return iterate(prior, request, progress)
    sampler = sampler_of(prior, "parallel_rows" if by_rows else "windowed", window=window)
    drawn = draw_grids(prior, sampler, request)
    assert drawn.runs is not None  # of a loop that draws rows more than once
    return ParallelSamples(drawn.values, drawn.runs)
