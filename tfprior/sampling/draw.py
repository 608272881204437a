"""What users call to draw samples.

Shapes: B batch · H W C grid · K uniforms a pixel.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Unpack

import keras
import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.priors.base import Prior
from tfprior.priors.raster import RasterPrior
from tfprior.sampling.loops import Loop, cached, full, parallel_rows, stepwise
from tfprior.sampling.parallel import ParallelSamples, iterate
from tfprior.sampling.request import Request, SamplingOptions
from tfprior.sharding import run_in_shards, shards

Method = Literal["cached", "parallel", "parallel_rows", "full"]


def sample(
    prior: Prior,
    num_samples: int,
    condition: Any = None,
    uniforms: Any = None,
    seed: int | None = None,
    method: Method = "cached",
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    observed: Any = None,
    mask: Any = None,
    progress: bool = False,
) -> np.ndarray:
    """Draws grids from the prior: (num_samples, H, W, C) int32, the same by every method.

    Args:
        prior: any prior.
        num_samples: how many grids, B.
        condition: one row for each sample, for a conditional prior.
        uniforms: the noise (B, H, W, K) in [0, 1); drawn from `seed` when left out.
        seed: of the noise, for samples that repeat.
        method: "cached" streams in one compiled graph and costs a few forward passes in all. "parallel" draws
            all pixels at once, again and again until nothing changes (`sample_parallel`), "parallel_rows"
            row by row. "full" runs the network anew for every pixel: the definition that all are tested
            against.
        temperature: below 1 sharpens, above 1 flattens every distribution.
        top_k: draws from the `top_k` most probable values of a channel only.
        top_p: draws from the fewest values that hold a probability `top_p` only.
        observed: known grids (B, H, W, C) to complete.
        mask: True where a pixel of `observed` is hidden and is to be drawn, (H, W) or (B, H, W): drawn given
            what comes before it in raster order. Known pixels that come after it have no say.
        progress: whether a bar is shown.

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and unknown methods.
    """
    request = Request.of(
        prior, num_samples, condition, uniforms, seed, temperature, top_k, top_p, observed, mask
    )
    if method == "parallel":
        return iterate(prior, request, progress).values
    loop = loop_of(prior, method)
    if progress:
        from rich.progress import track

        rows = draw_rows(prior, loop, request)
        shown = track(rows, "drawing", prior.grid_shape[0], transient=True)
        return np.stack(list(shown), axis=1)
    return draw_grids(prior, loop, request)[0]


def sample_rows(
    prior: Prior, num_samples: int, method: Method = "cached", **options: Unpack[SamplingOptions]
) -> Iterator[np.ndarray]:
    """Draws what `sample` draws, and gives every row (num_samples, W, C) as soon as it is finished.

    The methods are those of `sample` that go row by row: all but "parallel".

    Raises:
        ValueError: for arguments of the wrong shape, type or range, and other methods.
    """
    loop = loop_of(prior, method)
    return draw_rows(prior, loop, Request.of(prior, num_samples, **options))


def sample_parallel(
    prior: Prior,
    num_samples: int,
    by_rows: bool = False,
    progress: bool = False,
    **options: Unpack[SamplingOptions],
) -> ParallelSamples:
    """Draws what `sample` draws by fixed-point iteration, and tells how many runs each sample took.

    Either over the whole grid (at most one run of the network for each value), or `by_rows`.

    Raises:
        ValueError: for arguments of the wrong shape, type or range.
    """
    request = Request.of(prior, num_samples, **options)
    if not by_rows:
        return iterate(prior, request, progress)
    return ParallelSamples(*draw_grids(prior, loop_of(prior, "parallel_rows"), request))


def loop_of(prior: Prior, method: str) -> Loop:
    """The loop of a method.

    Raises:
        ValueError: for unknown methods, and those that the prior does not know.
    """
    loops = {
        "cached": cached if isinstance(prior, RasterPrior) else stepwise,
        "parallel_rows": parallel_rows,
        "full": full,
    }
    if method not in loops:
        raise ValueError(
            f"Unknown sampling method {method!r}; expected {', '.join(map(repr, loops))}, or of whole grids "
            "only 'parallel'."
        )
    if loops[method].rasters_only and not isinstance(prior, RasterPrior):
        raise ValueError(
            f"method={method!r} draws from a RasterPrior, and {type(prior).__name__} is none; use 'cached'."
        )
    return loops[method]


def draw_grids(prior: Prior, loop: Loop, request: Request) -> tuple[np.ndarray, ...]:
    """Values (B, H, W, C), and of `parallel_rows` the runs that each took (B,)."""
    run = compiled(loop.draw, model_for(prior, loop))

    def draw(index: np.ndarray) -> tuple[np.ndarray, ...]:
        values, _, last = run(request.examples(index))
        drawn = (values, last[-1]) if loop is parallel_rows else (values,)
        return tuple(ops.convert_to_numpy(part) for part in drawn)

    if loop is full:  # a whole network keeps all cores busy
        return draw(np.arange(len(request.uniforms)))
    return run_in_shards(draw, parts_of(len(request.uniforms)))


def draw_rows(prior: Prior, loop: Loop, request: Request) -> Iterator[np.ndarray]:
    """Rows (B, W, C) from the top."""
    count, (height, *_) = len(request.uniforms), prior.grid_shape
    model = model_for(prior, loop)
    run = compiled(loop.next_row, model)

    def rows(index: np.ndarray) -> Iterator[np.ndarray]:
        asked = keras.tree.map_structure(
            lambda part: None if part is None else ops.convert_to_tensor(part), request.examples(index)
        )
        carried = loop.begin(model, len(index), asked.condition)
        for y in range(height):
            row, _, carried = run(carried, np.asarray(y, "int32"), asked)
            yield ops.convert_to_numpy(row)

    parts = [rows(index) for index in parts_of(count)]
    with ThreadPoolExecutor(len(parts)) as pool:
        for _ in range(height):
            yield np.concatenate(list(pool.map(next, parts)))[:count]


def parts_of(count: int) -> list[np.ndarray]:
    """The examples shared out to the cores, or all of them for an accelerator."""
    on_cpu = all("cpu" in name.lower() for name in keras.distribution.list_devices())
    return shards(count, few_sizes=True) if on_cpu else shards(count, 1, most=count, few_sizes=True)


def model_for(prior: Prior, loop: Loop) -> Prior:
    """The prior, or what samples faster with its weights; `full` is the definition and takes no short way."""
    return prior if loop is full else prior.for_sampling()
