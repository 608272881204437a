"""`tfprior serve` under load from another process: many requests at a time beside one after the other.

Requests differ in class, temperature, seed and number of images; some go away before they are answered. Every
image is compared with what `OnnxSampler` draws of the same seed.
"""

import argparse
import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np


def save_bundle(path: Path) -> None:
    import keras

    import tfprior.export
    from tfprior.distributions import Categorical
    from tfprior.priors import GatedPixelCNN

    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN((28, 28, 1), Categorical(16), filters=64, num_layers=6, num_classes=10)
    tfprior.export.save(prior, path, formats=("onnx",))


def requests(count: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {
            "num_samples": int(samples),
            "condition": random.integers(10, size=samples).tolist(),
            "seed": int(random.integers(2**32)),
            "temperature": round(float(random.uniform(0.5, 1.5)), 3),
        }
        for samples in random.integers(1, 4, size=count)
    ]


async def load(
    address: str, asks: list[dict[str, Any]], at_once: int, cancelled: float, pid: int
) -> tuple[float, list[float], dict[int, Any], list[int]]:
    """Seconds in all and of each answer, what was drawn, and the server's memory in MiB on the way."""
    random, turns = np.random.default_rng(1), asyncio.Semaphore(at_once)
    leaves = random.random(len(asks)) < cancelled
    latencies: list[float] = []
    drawn: dict[int, Any] = {}
    memory: list[int] = []

    async def ask(client: httpx.AsyncClient, number: int) -> None:
        async with turns:
            if number % max(1, len(asks) // 8) == 0:
                memory.append(resident(pid))
            began = time.perf_counter()
            patience = random.uniform(0.02, 0.3) if leaves[number] else 120
            try:
                answer = await client.post("/v1/models/prior:sample", json=asks[number], timeout=patience)
            except httpx.TimeoutException:
                assert leaves[number], "a request was not answered"
                return
            answer.raise_for_status()
            latencies.append(time.perf_counter() - began)
            drawn[number] = answer.json()["values"]

    limits = httpx.Limits(max_connections=at_once)
    async with httpx.AsyncClient(base_url=address, limits=limits) as client:
        began = time.perf_counter()
        await asyncio.gather(*(ask(client, number) for number in range(len(asks))))
        return time.perf_counter() - began, latencies, drawn, memory


def resident(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text("utf-8"))
    assert found is not None
    return int(found[1]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--at-once", type=int, default=32)
    parser.add_argument("--alone", type=int, default=40, help="requests one after the other")
    parser.add_argument("--cancelled", type=float, default=0.1, help="share that goes away")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--bundle", type=Path, help="one of grids (28, 28, 1) with ten classes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = options.bundle or Path(folder, "prior")
        if options.bundle is None:
            save_bundle(bundle)
        for threads in options.threads:
            measure(bundle, threads, options)


def measure(bundle: Path, threads: int, options: argparse.Namespace) -> None:
    from tfprior.export.client import OnnxSampler

    command = [sys.executable, "-c", "from tfprior.cli import main; main()", "serve", f"prior={bundle}"]
    command += ["--port", "0", "--slots", str(options.slots), "--threads", str(threads)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        lines = iter(server.stderr.readline, "")
        address = next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line)))
        reader = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)  # empties the pipe
        few, many = requests(options.alone, seed=1), requests(options.requests)
        asyncio.run(load(address, few[:4], 4, 0.0, server.pid))  # warms up
        alone, waited, *_ = asyncio.run(load(address, few, 1, 0.0, server.pid))
        together, latencies, drawn, memory = asyncio.run(
            load(address, many, options.at_once, options.cancelled, server.pid)
        )
        server.terminate()
        server.wait()
        reader.wait()
    sampler = OnnxSampler(bundle)
    wrong = sum(
        int((np.array(values) != sampler.sample(**many[number])).any()) for number, values in drawn.items()
    )
    images = sum(many[number]["num_samples"] for number in drawn)
    one_by_one = sum(ask["num_samples"] for ask in few) / alone
    gone = len(many) - len(drawn)
    print(
        f"{threads} thread(s), {options.slots} slots: {len(drawn)} answers, {gone} went away, "
        f"{wrong} of {images} images differ\n"
        f"  {images / together:.1f} images/s, {options.at_once} requests at a time; {one_by_one:.1f} one "
        f"after the other: {images / together / one_by_one:.1f} times as many\n"
        f"  latency p50 {np.quantile(latencies, 0.5):.2f} s, p95 {np.quantile(latencies, 0.95):.2f} s; alone "
        f"p50 {np.quantile(waited, 0.5):.2f} s\n"
        f"  memory {' '.join(map(str, memory))} MiB",
        flush=True,
    )
    assert not wrong


if __name__ == "__main__":
    main()
