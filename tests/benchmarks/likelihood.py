"""What the logistic mixture's likelihood costs in training, beside TensorFlow Probability's composite of it.

    python tests/benchmarks/likelihood.py          # about a minute on two cores

Mean −log_prob of 16×32×32×3 values, 10 components, and its gradient. Times are medians, both taken in turn in
this process. Peak memory is what a process of its own needs beyond imports and inputs (Linux only); with XLA
some of it to compile.
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table
from tensorflow_probability import bijectors as tfb
from tensorflow_probability import distributions as tfd

from tfprior.distributions import DiscretizedLogisticMixture

SHAPE = (16, 32, 32, 3)
COMPONENTS = 10
MODES = ("eager", "function", "function, XLA")


def composite(params: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """As the library composes it: logits (M), then means, log-scales, coefficients (M · 3, by component)."""
    logits, *rest = tf.split(params, [COMPONENTS] + 3 * [3 * COMPONENTS], axis=-1)
    means, log_scales, coefficients = (tf.reshape(x, (*SHAPE[:-1], COMPONENTS, 3)) for x in rest)
    values = tf.cast(values, "float32")
    red, green, _ = tf.split(values[..., None, :] / 127.5 - 1, 3, axis=-1)
    from_red, red_to_blue, green_to_blue = tf.split(tf.tanh(coefficients), 3, axis=-1)
    moved = [tf.zeros_like(from_red), from_red * red, red_to_blue * red + green_to_blue * green]
    location = 127.5 * (means + tf.concat(moved, axis=-1) + 1)
    scale = 127.5 * tf.exp(tf.maximum(log_scales, -7.0))
    shifted = tfd.TransformedDistribution(tfd.Logistic(location, scale), tfb.Shift(-0.5))
    quantized = tfd.QuantizedDistribution(shifted, low=0.0, high=255.0)
    mixture = tfd.MixtureSameFamily(tfd.Categorical(logits), tfd.Independent(quantized, 1))
    return mixture.log_prob(values)


CONTESTANTS = {"composite": composite, "tfprior": DiscretizedLogisticMixture(COMPONENTS).log_prob}


def inputs(name: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The same parameters for both, each in its own layout, and values."""
    rng = np.random.default_rng(0)
    params = rng.normal(size=(*SHAPE[:-1], 10 * COMPONENTS)).astype("float32")
    values = tf.constant(rng.integers(256, size=SHAPE), "int32")
    if name == "composite":
        rest = params[..., COMPONENTS:].reshape(*SHAPE[:-1], 3, 3, COMPONENTS).swapaxes(-1, -2)
        params[..., COMPONENTS:] = rest.reshape(*SHAPE[:-1], -1)
    return tf.constant(params), values


def loss(name: str, mode: str) -> Callable[[], float]:
    """One forward and backward pass: the loss in nats."""
    params, values = inputs(name)

    def run(params: tf.Tensor, values: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(params)
            nats = -tf.reduce_mean(CONTESTANTS[name](params, values))
        return nats, tape.gradient(nats, params)

    if mode != "eager":
        run = tf.function(run, jit_compile="XLA" in mode, autograph=False)
    return lambda: float(run(params, values)[0])


def gradient(name: str) -> np.ndarray:
    """Of the mean in the parameters, in our layout."""
    params, values = inputs(name)
    with tf.GradientTape() as tape:
        tape.watch(params)
        nats = tf.reduce_mean(CONTESTANTS[name](params, values))
    found = tape.gradient(nats, params).numpy()
    if name == "composite":
        rest = found[..., COMPONENTS:].reshape(*SHAPE[:-1], 3, COMPONENTS, 3).swapaxes(-1, -2)
        found[..., COMPONENTS:] = rest.reshape(*SHAPE[:-1], -1)
    return found


def milliseconds(mode: str, repeats: int) -> dict[str, float]:
    runs = {name: loss(name, mode) for name in CONTESTANTS}
    nats = [run() for run in runs.values()]  # compiles
    np.testing.assert_allclose(nats, nats[0], rtol=1e-4)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: 1e3 * float(np.median(taken)) for name, taken in times.items()}


def megabytes(name: str, mode: str) -> float:
    """Peak memory, measured by this file in a fresh process."""
    command = [sys.executable, __file__, "--measure", name, mode]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(name: str, mode: str) -> float:
    """Megabytes by which this process grows at most, from the inputs on."""
    run = loss(name, mode)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of imports, is forgotten
    before = peak()
    for _ in range(5):
        run()
    return peak() - before


def peak() -> float:
    # Not getrusage: there a process starts with the peak of the one that started it.
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--measure", nargs=2, metavar=("CONTESTANT", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(measure(*options.measure))
        return

    np.testing.assert_allclose(gradient("tfprior"), gradient("composite"), rtol=1e-2, atol=1e-7)
    table = Table(title="Forward and gradient of the loss, " + "×".join(map(str, SHAPE)) + ", 10 components")
    for name in ("", "composite ms", "tfprior ms", "ratio", "composite MB", "tfprior MB", "ratio"):
        table.add_column(name, justify="right" if name else "left")
    for mode in MODES:
        cells = []
        for unit in (
            milliseconds(mode, options.repeats),
            {name: megabytes(name, mode) for name in CONTESTANTS},
        ):
            theirs, ours = unit["composite"], unit["tfprior"]
            cells += [f"{theirs:.1f}", f"{ours:.1f}", f"{theirs / ours:.1f}×"]
        table.add_row(mode, *cells)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
