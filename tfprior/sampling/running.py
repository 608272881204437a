"""How the loops run: compiled, shared out to the cores, whole or row by row, and which one is fastest.

Shapes: B batch · H W C grid.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import keras
import numpy as np
from keras import ops

from tfprior.compilation import compiled
from tfprior.priors.base import Prior
from tfprior.priors.raster import RasterPrior
from tfprior.sampling.loops import Loop, cached, full, parallel_rows, stepwise
from tfprior.sampling.parallel import iterate
from tfprior.sampling.request import Request
from tfprior.sharding import run_in_shards, shards

Measured = Literal["cached", "parallel"]
_FASTEST: weakref.WeakKeyDictionary[Prior, dict[int, Measured]] = weakref.WeakKeyDictionary()


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
            "only 'parallel' and 'auto'."
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


def fastest(prior: Prior, request: Request) -> Measured:
    """The method that draws such a request in the least time.

    On the CPU it is "cached", whatever the prior and the batch. On an accelerator the first request of a
    prior for so many samples is drawn by "cached" and by "parallel", and the faster is kept.
    """
    if on_cpu():
        return "cached"
    known, size = _FASTEST.setdefault(prior, {}), len(request.uniforms)
    if size not in known:
        taken: dict[Measured, float] = {
            "cached": seconds(lambda: draw_grids(prior, loop_of(prior, "cached"), request)),
            "parallel": seconds(lambda: iterate(prior, request)),
        }
        known[size] = min(taken, key=taken.__getitem__)
    return known[size]


def seconds(run: Callable[[], object]) -> float:
    """What a second run takes: the first one compiles."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def parts_of(count: int) -> list[np.ndarray]:
    """The examples shared out to the cores, or all of them for an accelerator."""
    return shards(count, few_sizes=True) if on_cpu() else shards(count, 1, most=count, few_sizes=True)


def on_cpu() -> bool:
    """Whether Keras has no accelerator."""
    return all("cpu" in name.lower() for name in keras.distribution.list_devices())


def model_for(prior: Prior, loop: Loop) -> Prior:
    """The prior, or what samples faster with its weights; `full` is the definition and takes no short way."""
    return prior if loop is full else prior.for_sampling()
