"""What a sample costs: cached against full re-evaluation, in forward passes, and exported in ONNX Runtime.

    python tests/benchmarks/sampling.py            # about ten minutes on two cores; --skip-full: two

All ratios are of times taken in this run. Every time is the best of several, forward pass and samplers taken
in turn; `full` runs once, whole. ONNX Runtime runs where it is meant to: in a process without TensorFlow.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from tfprior import export
from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN
from tfprior.sampling import sample

GRID = (28, 28, 1)
STEPS = 28 * 28
CLIENT = """
import sys, time
import numpy as np
from tfprior.export.client import OnnxSampler

bundle, noise, out, repeats, threads = sys.argv[1:]
uniforms = np.load(noise)
sampler = OnnxSampler(bundle, threads=int(threads) or None)
times, end = [], time.perf_counter() + 4  # a process is slow in its first seconds
while len(times) < int(repeats) or time.perf_counter() < end:
    start = time.perf_counter()
    values = sampler.sample(len(uniforms), uniforms=uniforms, method="pair")
    times.append(time.perf_counter() - start)
np.save(out, values)
print(min(times))
"""


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def best(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Best time of each, taken in turn so that a slow spell of the machine meets all of them."""
    for run in runs.values():
        run()  # compiles
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return {name: min(taken) for name, taken in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--filters", type=int, default=64)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=0, help="of ONNX Runtime; 0 for all cores")
    parser.add_argument("--skip-full", action="store_true")
    options = parser.parse_args()

    console = Console(width=140)
    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN(GRID, Categorical(256), filters=options.filters, num_layers=options.layers)
    generator = np.random.default_rng(0)
    for weight in prior.weights:  # zero biases would be optimised away
        weight.assign(weight.numpy() + 0.01 * generator.standard_normal(weight.shape))
    compiled = {
        "forward XLA": tf.function(lambda x: prior(x), jit_compile=True, autograph=False),
        "forward": tf.function(lambda x: prior(x), jit_compile=False, autograph=False),
    }
    table = Table(title=f"Gated PixelCNN, {prior.count_params():,} parameters, 28×28×1, 256 levels")
    for name in (
        *("batch", "forward pass s", "cached s", "µs / step", "forward passes", "full s", "full / cached"),
        *("ONNX pair µs / step", "ONNX / XLA", "integers that differ"),
    ):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        bundle = export.save(prior, Path(folder) / "prior", formats=("onnx",))
        for batch in options.batches:
            table.add_row(*row(prior, compiled, bundle, batch, options))
            console.print(table)


def row(
    prior: GatedPixelCNN,
    forward: dict[str, Callable[..., tf.Tensor]],
    bundle: Path,
    batch: int,
    options: argparse.Namespace,
) -> list[str]:
    uniforms = np.random.default_rng(0).random((batch, *GRID), "float32")
    values = sample(prior, batch, uniforms=uniforms)
    images = tf.constant(values)
    runs = {name: lambda function=function: function(images).numpy() for name, function in forward.items()}
    runs["cached"] = lambda: sample(prior, batch, uniforms=uniforms)
    taken = best(runs, options.repeats)
    exported, taken["pair"] = sample_exported(bundle, uniforms, options)
    differing = int((exported != values).sum())
    one_pass = min(taken["forward"], taken["forward XLA"])
    full, ratio = "–", "–"
    if not options.skip_full:
        drawn: list[np.ndarray] = []
        run = lambda: drawn.append(sample(prior, batch, uniforms=uniforms, method="full"))  # noqa: E731
        once = seconds(run)
        differing += int((drawn[0] != values).sum())
        full, ratio = f"{once:.1f}", f"{once / taken['cached']:.0f}×"
    return [
        str(batch),
        f"{one_pass:.4f}",
        f"{taken['cached']:.3f}",
        f"{1e6 * taken['cached'] / STEPS:.0f}",
        f"{taken['cached'] / one_pass:.2f}",
        full,
        ratio,
        f"{1e6 * taken['pair'] / STEPS:.0f}",
        f"{taken['pair'] / taken['cached']:.2f}×",
        str(differing),
    ]


def sample_exported(
    bundle: Path, uniforms: np.ndarray, options: argparse.Namespace
) -> tuple[np.ndarray, float]:
    """What the bundle draws, and its best time in seconds."""
    noise, out = bundle.parent / "noise.npy", bundle.parent / "values.npy"
    np.save(noise, uniforms)
    arguments = [bundle, noise, out, options.repeats, options.threads]
    run = subprocess.run(
        [sys.executable, "-c", CLIENT, *map(str, arguments)], check=True, capture_output=True, text=True
    )
    return np.load(out), float(run.stdout)


if __name__ == "__main__":
    main()
