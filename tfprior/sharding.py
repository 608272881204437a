"""A batch shared out to the cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

LEAST = 4
"""Examples in a shard: with fewer, a step costs as much as with four."""


def run_in_shards(
    run: Callable[[np.ndarray], tuple[np.ndarray, ...]], size: int, workers: int | None = None
) -> tuple[np.ndarray, ...]:
    """Runs `run` on shards of the rows 0 … size − 1, each on a core of its own, and joins what it returns.

    The operations of a sampling loop are too small for more than one core, but examples do not depend on each
    other. All shards are of one size, the last rows repeated where they must be, so one compiled graph serves
    them all.
    """
    count = max(1, min(workers or cores(), size // LEAST))
    if count == 1:
        return run(np.arange(size))
    rows = np.minimum(np.arange(count * -(-size // count)), size - 1)
    with ThreadPoolExecutor(count) as pool:
        parts = list(pool.map(run, np.split(rows, count)))
    return tuple(np.concatenate(part)[:size] for part in zip(*parts, strict=True))


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
