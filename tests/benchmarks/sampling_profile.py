"""Where the time of a cached sample goes on one core: rows, pixels, drawing, beside bare matrix products.

    python tests/benchmarks/sampling_profile.py            # about three minutes

Cores share a batch, so batches of 1, 16 and 64 on two cores are shards of 1, 8 and 32. Parts are
told apart by leaving them out: rows alone, then pixels whose values come from a comparison instead of a draw.
The floor is the same products of matrices, one after the other, and nothing else.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before anything starts its threads

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from rich.console import Console
from rich.table import Table

from tfprior.distributions import Categorical
from tfprior.layers import empty_state
from tfprior.priors import GatedPixelCNN
from tfprior.sampling import cached

GRID = (28, 28, 1)
STEPS = 28 * 28


class Compared(Categorical):
    """Values that depend on the parameters and cost next to nothing."""

    def sample(self, params: Any, uniforms: Any, options: Any = None) -> tuple[Any, Any]:
        return ops.cast(params[..., :1] > uniforms, "int32"), ops.zeros(ops.shape(params)[:-1])


def rows_alone(prior: GatedPixelCNN, uniforms: Any) -> Any:
    """`row` for every row, each fed by what the one before gave."""
    batch_size, (height, width, _) = uniforms.shape[0], prior.grid_shape

    def next_row(y: Any, carry: Any) -> Any:
        states, above = carry
        states, features = prior.row(states, above, None, ops.full((batch_size,), 1, "int32") * y)
        return states, ops.cast(ops.sum(features, axis=2, keepdims=True) > 0, "int32")

    start = empty_state(prior.row_spec(), batch_size), ops.zeros((batch_size, width, 1), "int32")
    return ops.fori_loop(0, height, next_row, start)[1]


def pixel_matrices(prior: GatedPixelCNN) -> list[np.ndarray]:
    """Everything that a pixel is multiplied by."""
    layers = [layer for block in prior.blocks for layer in (block.columns_conv, block.residual)]
    kernels = [layer.kernel for layer in (*layers, prior.skips, prior.hidden, prior.head)]
    return [np.reshape(kernel, (-1, kernel.shape[-1])) for kernel in kernels]


def products_alone(matrices: list[Any], x: Any) -> Any:
    """As many steps of those products, each fed by the one before."""
    widest = max(matrix.shape[0] for matrix in matrices)

    def step(_: Any, x: Any) -> Any:
        for matrix in matrices:
            x = ops.concatenate([x[:, : matrix.shape[0]] @ matrix, x], axis=1)[:, :widest]
        return x

    return ops.fori_loop(0, STEPS, step, x)


def compiled(function: Callable[..., Any], given: Any) -> Callable[[], Any]:
    run = tf.function(function, jit_compile=True, autograph=False)
    return lambda: run(given)


def microseconds_a_step(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Best of several, taken in turn so that a slow spell of the machine meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):  # the first time compiles
        for name, run in runs.items():
            start = time.perf_counter()
            keras.tree.map_structure(np.asarray, run())
            times[name].append(time.perf_counter() - start)
    return {name: 1e6 * min(taken[1:]) / STEPS for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN(GRID, Categorical(256), filters=options.filters, num_layers=options.layers)
    rng = np.random.default_rng(0)
    for weight in prior.weights:  # zero biases would be optimised away
        weight.assign(weight.numpy() + 0.01 * rng.standard_normal(weight.shape))
    undrawn = GatedPixelCNN(GRID, Compared(256), filters=options.filters, num_layers=options.layers)
    undrawn.set_weights(prior.get_weights())
    matrices = [tf.constant(matrix) for matrix in pixel_matrices(prior)]
    weights = sum(int(tf.size(matrix)) for matrix in matrices)

    table = Table(title=f"Gated PixelCNN, {prior.count_params():,} parameters, one core, µs a step")
    for name in ("shard", "sampling", "rows", "pixels", "drawing", "products of a pixel alone"):
        table.add_column(name, justify="right")
    for name in ("weights read", "at", "products", "forward passes"):
        table.add_column(name, justify="right")
    for size in options.shards:
        uniforms = tf.constant(rng.random((size, *GRID), "float32"))
        x = tf.constant(rng.random((size, max(matrix.shape[0] for matrix in matrices)), "float32"))
        functions = {
            "all": (lambda given: cached(prior, given), uniforms),
            "undrawn": (lambda given: cached(undrawn, given), uniforms),
            "rows": (lambda given: rows_alone(prior, given), uniforms),
            "products": (lambda given: products_alone(matrices, given), x),
            "forward": (lambda given: prior(given), tf.constant(rng.integers(256, size=(size, *GRID)))),
        }
        taken = microseconds_a_step(
            {name: compiled(*function) for name, function in functions.items()}, options.repeats
        )
        pixels = taken["undrawn"] - taken["rows"]
        table.add_row(
            str(size),
            *(f"{number:.0f}" for number in (taken["all"], taken["rows"], pixels)),
            f"{taken['all'] - taken['undrawn']:.0f}",
            f"{taken['products']:.0f}",
            f"{4e-6 * weights:.2f} MB",
            f"{4e-3 * weights / pixels:.0f} GB/s",
            f"{2e-3 * weights * size / pixels:.0f} GFLOP/s",
            f"{taken['all'] / taken['forward']:.1f}",
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
