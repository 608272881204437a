"""Fixed-point sampling beside cached sampling: how many runs a sample takes, and how long.

    python tests/benchmarks/parallel.py runs/mnist    # a run of `tfprior train`, or a .keras file
    python tests/benchmarks/parallel.py               # an untrained prior: pixels hardly depend on others
    KERAS_BACKEND=jax python tests/benchmarks/parallel.py runs/mnist --full    # on an accelerator

"masked" is "parallel" without leaving out the images that stand still. Every time is the best of several,
methods taken in turn; all draw from the same uniforms, and integers that differ are counted.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from tfprior.compilation import compiled
from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN, Prior
from tfprior.sampling import sample, sample_parallel
from tfprior.sampling.parallel import refine
from tfprior.sampling.request import Request


def untrained() -> Prior:
    keras.utils.set_random_seed(0)
    return GatedPixelCNN((28, 28, 1), Categorical(256), filters=64, num_layers=12)


def opened(path: str) -> Prior:
    from tfprior.runs import load_prior

    return load_prior(path)


def masked(prior: Prior, request: Request) -> np.ndarray:
    """Every image runs until the last one stands still."""
    run, values = compiled(refine, prior), np.zeros((len(request.uniforms), *prior.grid_shape), "int32")
    while True:
        drawn = keras.ops.convert_to_numpy(run(values, request))
        if (drawn == values).all():
            return drawn
        values = drawn


def best(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):  # the first time compiles
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: min(taken[1:]) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("prior", nargs="?", help="a run or a .keras file")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="time the definition too")
    options = parser.parse_args()

    prior = opened(options.prior) if options.prior else untrained()
    device = keras.distribution.list_devices()[0]
    title = (
        f"{type(prior).__name__}, {prior.count_params():,} parameters, {keras.backend.backend()} on {device}"
    )
    table = Table(title=title)
    for name in ("batch", "method", "seconds", "beside cached", "runs: mean", "most", "integers that differ"):
        table.add_column(name, justify="left" if name == "method" else "right")
    for batch in options.batches:
        for row in rows(prior, batch, options):
            table.add_row(*row)
        table.add_section()
    Console(width=120).print(table)


def rows(prior: Prior, batch: int, options: argparse.Namespace) -> list[list[str]]:
    height, width, channels = prior.grid_shape
    shape = (batch, height, width, prior.distribution.num_uniforms(channels))
    uniforms = np.random.default_rng(0).random(shape, "float32")
    labels = None if prior.num_classes is None else np.arange(batch) % prior.num_classes
    given = {"condition": labels, "uniforms": uniforms}
    request = Request.of(prior, batch, **given)
    names = ["cached", "parallel", "parallel_rows", *(["full"] if options.full else [])]
    methods = {name: lambda name=name: sample(prior, batch, method=name, **given) for name in names}
    methods["masked"] = lambda: masked(prior, request)
    taken, drawn = best(methods, options.repeats), {name: run() for name, run in methods.items()}
    runs = {
        "parallel": sample_parallel(prior, batch, **given).runs,
        "parallel_rows": sample_parallel(prior, batch, by_rows=True, **given).runs / height,
    }
    return [
        [
            str(batch),
            name,
            f"{seconds:.3f}",
            f"{seconds / taken['cached']:.2f}×",
            f"{runs[name].mean():.1f}" if name in runs else "",
            f"{runs[name].max():.1f}" if name in runs else "",
            str(int((drawn[name] != drawn["cached"]).sum())),
        ]
        for name, seconds in taken.items()
    ]


if __name__ == "__main__":
    main()
