"""Nearest-code lookup beside the PyTorch package vector-quantize-pytorch, each in a process of its own.

    pip install torch==2.13.0 vector-quantize-pytorch   # for this benchmark alone
    python tests/benchmarks/quantizer.py                # about a minute on two cores

Vectors (N, D) and a codebook (K, D) that gradients move. "lookup" gives codes and quantized vectors;
"training" adds the commitment and codebook losses and the gradients of inputs and codebook. Times are the
best of several; peak memory is what the process needs beyond imports and inputs (Linux only), where a tensor
of N · K · D numbers would show.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CONTESTANTS = ("vector-quantize-pytorch", "tfprior", "tfprior, XLA")
MODES = ("lookup", "training")


def inputs(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    sizes = (options.vectors, options.dim), (options.codes, options.dim)
    vectors, codebook = (generator.normal(size=size).astype("float32") for size in sizes)
    return vectors, codebook


def theirs(mode: str, vectors: np.ndarray, codebook: np.ndarray) -> Callable[[], Any]:
    import torch
    from vector_quantize_pytorch import VectorQuantize

    layer = VectorQuantize(
        codebook.shape[1],
        codebook_size=len(codebook),
        commitment_weight=0.25,
        learnable_codebook=True,
        ema_update=False,
    )
    with torch.no_grad():
        layer._codebook.embed.copy_(torch.from_numpy(codebook)[None])
    x = torch.from_numpy(vectors)[None]

    def lookup() -> Any:
        with torch.no_grad():
            return layer(x)[1].numpy()

    def training() -> Any:
        given = x.clone().requires_grad_(True)
        quantized, codes, loss = layer(given)
        (quantized.square().mean() + loss.sum()).backward()
        return codes.numpy()

    layer.train(mode == "training")
    return {"lookup": lookup, "training": training}[mode]


def ours(mode: str, vectors: np.ndarray, codebook: np.ndarray, xla: bool) -> Callable[[], Any]:
    import tensorflow as tf

    from tfprior.quantizers import VectorQuantizer

    layer = VectorQuantizer(*codebook.shape, decay=None, restart_below=None, initialization="uniform")
    layer.learns_by_itself = False
    layer.build((None, codebook.shape[1]))
    layer.trainable_weights[0].assign(codebook)
    variable, x = layer.trainable_weights[0].value, tf.constant(vectors)

    def lookup(x: tf.Tensor) -> Any:
        result = layer(x)
        return result.codes, result.quantized

    def training(x: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            result = layer(x, training=True)
            loss = tf.reduce_mean(tf.square(result.quantized)) + result.loss
        return result.codes, *map(tf.convert_to_tensor, tape.gradient(loss, [x, variable]))

    run = tf.function({"lookup": lookup, "training": training}[mode], jit_compile=xla, autograph=False)
    return lambda: run(x)[0].numpy()


def peak() -> float:
    """Megabytes that this process held at most."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1e3


def measure(name: str, mode: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time and memory in this process."""
    vectors, codebook = inputs(options)
    make = theirs if name not in ("tfprior", "tfprior, XLA") else ours
    run = make(mode, vectors, codebook, **({} if make is theirs else {"xla": "XLA" in name}))
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far, of imports, is forgotten
    before = peak()
    codes = run()
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {"ms": 1e3 * min(times), "MB": peak() - before, "codes": int(np.asarray(codes, "int64").sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=65_536)
    parser.add_argument("--codes", type=int, default=1024)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--measure", nargs=2, metavar=("CONTESTANT", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*options.measure, options)))
        return

    from rich.console import Console
    from rich.table import Table

    sizes = f"N = {options.vectors:,}, K = {options.codes:,}, D = {options.dim}"
    table = Table(title=f"{sizes}; N·K alone is {4e-6 * options.vectors * options.codes:.0f} MB")
    for heading in ("", "", "ms", "times as fast", "MB"):
        table.add_column(heading, justify="right" if heading else "left")
    given = [f"--{name}={getattr(options, name)}" for name in ("vectors", "codes", "dim", "repeats")]
    for mode in MODES:
        results = {}
        for name in CONTESTANTS:
            command = [sys.executable, __file__, "--measure", name, mode, *given]
            printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[name] = json.loads(printed.splitlines()[-1])
        first = results[CONTESTANTS[0]]
        for name, result in results.items():
            ratio = f"{first['ms'] / result['ms']:.2f}×"
            table.add_row(mode, name, f"{result['ms']:.0f}", ratio, f"{result['MB']:.0f}")
            if abs(result["codes"] - first["codes"]) > 1e-4 * first["codes"]:
                raise SystemExit(f"{name} chose other codes than {CONTESTANTS[0]}.")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
