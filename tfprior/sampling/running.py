"""How the loops run: compiled, shared out to the cores, whole or row by row, and which one is fastest.

Shapes: B batch · H W C grid.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.compilation import compiled, devices
from tfprior.float32_copies import in_float32
from tfprior.priors.any_order_transformer import AnyOrderTransformer
from tfprior.priors.autoregressive import AutoregressivePrior
from tfprior.priors.base import Prior
from tfprior.priors.masked import MaskedPrior
from tfprior.priors.raster import RasterPrior
from tfprior.priors.transformer import TransformerPrior
from tfprior.sampling.decoding import halton, maskgit, sequential
from tfprior.sampling.loops import Loop, cached, full, parallel_rows
from tfprior.sampling.ordered_loops import along_order, full_along_order
from tfprior.sampling.parallel import check_drawn, iterate
from tfprior.sampling.request import Request
from tfprior.sampling.sampler import Drawn, Sampler
from tfprior.sampling.windows import windowed
from tfprior.sharding import AT_ONCE, ON_ACCELERATOR, cores, few_sized_shards, rounded, run_in_shards

Measured = Literal["cached", "parallel"]
_FASTEST: weakref.WeakKeyDictionary[AutoregressivePrior, dict[tuple[int, bool], Measured]] = (
    weakref.WeakKeyDictionary()
)


def samplers_of(prior: Prior) -> dict[str, Any]:
    """What draws from a prior, by the names of methods, the usual one first."""
    if isinstance(prior, MaskedPrior):
        return {"sequential": sequential, "maskgit": maskgit, "halton": halton}
    if isinstance(prior, AnyOrderTransformer):
        return {"cached": along_order, "windowed": windowed, "full": full_along_order}
    of_transformers = {"windowed": windowed} if isinstance(prior, TransformerPrior) else {}
    return {"cached": cached, **of_transformers, "parallel_rows": parallel_rows, "full": full}


def sampler_of(
    prior: Prior, method: str | None = None, iterations: int | None = None, window: int | None = None
) -> Any:
    """What draws from a prior by a method, the usual one when left out.

    Raises:
        ValueError: for unknown methods, those that the prior does not know, and iterations or a window of
            what has none.
    """
    samplers = samplers_of(prior)
    method = next(iter(samplers)) if method is None else method
    if method not in samplers:
        others = ", or of whole grids only 'parallel' and 'auto'" if iterates(prior) else ""
        raise ValueError(
            f"Unknown sampling method {method!r} of {type(prior).__name__}; expected "
            f"{', '.join(map(repr, samplers))}{others}."
        )
    sampler = samplers[method]
    if window is not None and method != "windowed":
        raise ValueError(
            f"method={method!r} got window={window}; leave it out, or draw from a Transformer by 'windowed'."
        )
    if iterations is not None and method not in ("maskgit", "halton"):
        raise ValueError(
            f"method={method!r} draws one by one and got iterations={iterations}; leave it out, or draw "
            "from a masked prior by 'maskgit' or 'halton'."
        )
    if not isinstance(sampler, Sampler):  # by their number of iterations, or of positions
        return sampler(window if method == "windowed" else iterations)
    if sampler.rasters_only and not isinstance(prior, RasterPrior):
        raise ValueError(
            f"method={method!r} draws from a RasterPrior, and {type(prior).__name__} is none; use 'cached'."
        )
    return sampler


def way_of(
    prior: Prior, method: str | None = None, iterations: int | None = None, window: int | None = None
) -> tuple[Any, bool]:
    """What draws from a prior by a method, and whether fixed-point iteration may in its stead.

    Raises:
        ValueError: as in `sampler_of`.
    """
    by_iteration = method in ("parallel", "auto") and iterates(prior)
    return sampler_of(prior, None if by_iteration else method, iterations, window), by_iteration


def iterates(prior: Prior) -> bool:
    """Whether fixed-point iteration draws from it: what a position is depends on those before it alone."""
    return isinstance(prior, AutoregressivePrior)


def draw_grids(prior: Prior, sampler: Sampler, request: Request) -> Drawn:
    """The grids that a request asks for, as arrays."""
    run = compiled(sampler.draw, model_for(prior, sampler))

    def draw(index: np.ndarray) -> tuple[np.ndarray, ...]:
        drawn = run(request.examples(index).in_halves(prior))
        return tuple(ops.convert_to_numpy(part)[: len(index)] for part in drawn if part is not None)

    drawn = Drawn(*run_in_shards(draw, parts_of(len(request.uniforms), sampler)))
    check_drawn(drawn.log_prob)
    return drawn


def draw_rows(prior: AutoregressivePrior, loop: Loop, request: Request) -> Iterator[np.ndarray]:
    """Rows (B, W, C) from the top, of all grids at once."""
    count, (height, *_) = len(request.uniforms), prior.grid_shape
    model = model_for(prior, loop)
    begin, run = compiled(loop.begin, model), compiled(loop.next_row, model)

    def rows(index: np.ndarray) -> Iterator[np.ndarray]:
        asked = keras.tree.map_structure(
            lambda part: None if part is None else ops.convert_to_tensor(part),
            request.examples(index).in_halves(prior),
        )
        first = int(asked.first_row())
        for y in range(first):
            yield ops.convert_to_numpy(asked.observed)[: len(index), y]
        carried = begin(asked, np.asarray(first, "int32"))
        for y in range(first, height):
            row, nats, carried = run(carried, np.asarray(y, "int32"), asked)
            check_drawn(nats)
            yield ops.convert_to_numpy(row)[: len(index)]

    parts = [rows(index) for index in parts_of(count, loop)]
    if len(parts) == 1:
        yield from (row[:count] for row in parts[0])
        return
    with ThreadPoolExecutor(min(len(parts), cores())) as pool:
        for _ in range(height):
            yield np.concatenate(list(pool.map(next, parts)))[:count]


def fastest(prior: AutoregressivePrior, request: Request) -> Measured:
    """The method that draws such a request in the least time.

    On the CPU it is "cached", whatever the prior and the batch. On an accelerator the first request of a
    prior for about so many samples, or completions, is drawn by "cached" and by "parallel", twice each, and
    the faster is kept: after more training, too.
    """
    if on_cpu():
        return "cached"
    known = _FASTEST.setdefault(prior, {})
    kind = rounded(len(request.uniforms)), request.observed is not None
    if kind not in known:
        taken: dict[Measured, float] = {
            "cached": seconds(lambda: draw_grids(prior, sampler_of(prior, "cached"), request)),
            "parallel": seconds(lambda: iterate(prior, request)),
        }
        known[kind] = min(taken, key=taken.__getitem__)
    return known[kind]


def seconds(run: Callable[[], object]) -> float:
    """What a second run takes: the first one compiles."""
    run()
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def parts_of(count: int, sampler: Sampler) -> list[np.ndarray]:
    """The examples shared out to the cores, or in large parts where one keeps the whole device busy."""
    if sampler.whole_network:
        return few_sized_shards(count, 1, AT_ONCE)
    if on_cpu():
        return few_sized_shards(count)
    return few_sized_shards(count, 1, ON_ACCELERATOR, overhead=ON_ACCELERATOR)


def on_cpu() -> bool:
    """Whether Keras has no accelerator."""
    return all("cpu" in name.lower() for name in devices())


def model_for(prior: Prior, sampler: Sampler) -> Any:
    """What samples faster with the prior's weights; the whole network, which defines, takes no short way."""
    return in_float32(prior) if sampler.whole_network else prior.for_sampling()
