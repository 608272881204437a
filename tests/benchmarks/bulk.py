"""A bulk job on one worker and on two: images a second, and whether their memory stays as it is.

    python tests/benchmarks/bulk.py          # some minutes on two cores

50 000 images 28×28×1 are encoded by the bundle of an untrained VQ-VAE in ONNX Runtime, a thread a worker.
Memory is what the worker processes hold together, at a quarter, a half and the end of the work. A process
without Keras and TensorFlow writes and measures; another one exports the bundle before.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from tfprior import bulk

SHAPE = (28, 28, 1)
EXPORT = """
import sys
import keras
import tfprior.export
from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE

keras.utils.set_random_seed(0)
tokenizer = VQVAE((28, 28, 1), VectorQuantizer(512, 64), DiscretizedLogistic(256), filters=64)
prior = GatedPixelCNN(tokenizer.code_shape, Categorical(512), filters=8, num_layers=1)
tfprior.export.save(Generator(tokenizer, prior), sys.argv[1], formats=("onnx",))
"""


class Memory(threading.Thread):
    """Looks at the memory of processes while they work."""

    def __init__(self, pids: list[int], folder: Path, shards: int) -> None:
        super().__init__(daemon=True)
        self.processes = [psutil.Process(pid) for pid in pids]
        self.folder, self.shards, self.done = folder, shards, threading.Event()
        self.held: dict[float, int] = {}

    def run(self) -> None:
        while not self.done.wait(0.05):
            share = len(list(self.folder.glob("codes-*"))) / self.shards
            passed = max((part for part in (0.25, 0.5, 1.0) if share >= part - 0.01), default=None)
            if passed is not None and passed not in self.held:
                self.held[passed] = sum(process.memory_info().rss for process in self.processes)


def digest(index: bulk.Index) -> str:
    return hashlib.sha256("".join(shard.sha256 for shard in index.shards).encode()).hexdigest()[:12]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--shard-size", type=int, default=1024)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        subprocess.run([sys.executable, "-c", EXPORT, str(root / "bundle")], check=True)
        images = np.lib.format.open_memmap(root / "images.npy", "w+", "uint8", (options.images, *SHAPE))
        noise = np.random.default_rng(0).integers(256, size=(1000, *SHAPE), dtype="uint8")
        for first in range(0, options.images, 1000):
            images[first : first + 1000] = noise[: options.images - first]
        images.flush()
        job = bulk.encode_job(root / "bundle", root / "images.npy", shard_size=options.shard_size)
        table = Table(title=f"encoding {options.images:,} images {'×'.join(map(str, SHAPE))}")
        for column in (
            "workers",
            "seconds",
            "images/s",
            "MB at ¼",
            "at ½",
            "at the end",
            "digest of the shards",
        ):
            table.add_column(column, justify="right")
        start = time.perf_counter()
        index = bulk.run(job, root / "here", progress=False)
        taken = time.perf_counter() - start
        table.add_row(
            "this process", f"{taken:.1f}", f"{options.images / taken:,.0f}", "", "", "", digest(index)
        )
        for workers in options.workers:
            table.add_row(*row(job, root / str(workers), workers))
    Console(width=120).print(table)


def row(job: bulk.Job, folder: Path, workers: int) -> list[str]:
    with bulk.connected(workers=workers) as client:
        assert client is not None
        memory = Memory(list(client.run(lambda: __import__("os").getpid()).values()), folder, job.num_shards)
        memory.start()
        start = time.perf_counter()
        index = bulk.run(job, folder, client, progress=False)
        taken = time.perf_counter() - start
        memory.done.set()
        memory.join()
    held = [f"{memory.held[part] / 1e6:.0f}" if part in memory.held else "–" for part in (0.25, 0.5, 1.0)]
    return [str(workers), f"{taken:.1f}", f"{job.count / taken:,.0f}", *held, digest(index)]


if __name__ == "__main__":
    main()
