"""A step of training by one worker and by two, beside what `tfprior.replicas.cost` foretells of two.

    python tests/benchmarks/workers.py      # about two minutes; needs two cores

Each worker has a core of its own and the same share of a batch, so two of them do twice the work of one. They
talk over the loopback interface, whose latency and bandwidth are measured in the same processes, by adding up
one number and as many as the model has.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from tfprior.distributions import Categorical
from tfprior.priors import GatedPixelCNN, PixelCNN
from tfprior.replicas.cost import bytes_added_up, step_cost

SHAPE, SHARE = (28, 28, 1), 8
MODELS: dict[str, Callable[[], Any]] = {
    "Gated PixelCNN": lambda: GatedPixelCNN(SHAPE, Categorical(256), filters=64, num_layers=8),
    "PixelCNN": lambda: PixelCNN(SHAPE, Categorical(256), filters=128, num_layers=6),
}


class StepTimes(keras.callbacks.Callback):
    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def measured(name: str, steps: int) -> dict[str, float]:
    """Seconds of a step, and of adding up one number and all, as this worker sees them."""
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    keras.utils.set_random_seed(0)
    values = np.random.default_rng(0).integers(0, 256, (SHARE * replicas, *SHAPE)).astype("uint8")
    times = StepTimes()
    with strategy.scope():
        model = MODELS[name]()
        model.compile(keras.optimizers.Adam(1e-3), jit_compile=False)
    data = tf.data.Dataset.from_tensors(values).repeat(steps)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    model.fit(data.unbatch().batch(SHARE * replicas).with_options(options), verbose=0, callbacks=[times])
    num_bytes = bytes_added_up(model)
    return {
        "step": float(np.median(times.seconds[steps // 3 :])),
        "bytes": num_bytes,
        "one": seconds_to_add_up(strategy, 1) if replicas > 1 else 0.0,
        "all": seconds_to_add_up(strategy, num_bytes // 4) if replicas > 1 else 0.0,
    }


def seconds_to_add_up(strategy: Any, count: int, repeats: int = 20) -> float:
    """Of `count` numbers, on all workers."""

    @tf.function
    def add_up() -> Any:
        def on_replica() -> Any:
            context = tf.distribute.get_replica_context()
            return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.ones((count,)))

        return strategy.run(on_replica)

    add_up()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        np.asarray(add_up())
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def apart(name: str, workers: int, steps: int) -> dict[str, float]:
    """What the first of so many workers measures, each on a core of its own."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(workers)]}
    cores = sorted(os.sched_getaffinity(0))
    processes = []
    for index in range(workers):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        command = [
            sys.executable,
            __file__,
            "--only",
            name,
            "--core",
            str(cores[index]),
            "--steps",
            str(steps),
        ]
        environment = {**os.environ, "TF_CONFIG": config}
        processes.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError("A worker failed; its error stands above.")
    told: dict[str, float] = json.loads(outputs[0].splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=18)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(measured(options.only, options.steps)))
        return
    table = Table(
        *("", "one worker", "two", "foretold", "efficiency", "foretold", "added up"),
        title=f"ms a step, {SHARE} images a worker on a core of its own",
    )
    for name in MODELS:
        alone, both = apart(name, 1, options.steps), apart(name, 2, options.steps)
        latency = both["one"] / 2  # a ring of two sends two messages
        bandwidth = both["bytes"] / max(both["all"] - both["one"], 1e-9)
        cost = step_cost(alone["step"], int(both["bytes"]), 2, bandwidth, latency)
        table.add_row(
            name,
            *(f"{1e3 * seconds:.1f}" for seconds in (alone["step"], both["step"], cost.seconds)),
            f"{alone['step'] / both['step']:.0%}",
            f"{cost.efficiency:.0%}",
            f"{both['bytes'] / 1e6:.1f} MB, {bandwidth / 1e6:.0f} MB/s, {1e6 * latency:.0f} µs",
        )
    Console().print(table)


if __name__ == "__main__":
    # Before TensorFlow counts the cores.
    if "--core" in sys.argv:
        os.sched_setaffinity(0, {int(sys.argv[sys.argv.index("--core") + 1])})
    main()
