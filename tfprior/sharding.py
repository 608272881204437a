"""A batch shared out to the cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

LEAST = 4
"""Examples in a shard: with fewer, a step costs as much as with four."""
MOST = 128
"""Examples in a shard: with more, a step takes memory and gains no time."""
AT_ONCE = 256
"""Examples that a whole network takes at once, for the same reason."""
ON_ACCELERATOR = 1024
"""Examples that an accelerator takes at once."""


def shards(
    size: int, workers: int | None = None, most: int = MOST, few_sizes: bool = False
) -> list[np.ndarray]:
    """The rows 0 … size − 1 in shards of equal size, the last row repeated where it must be.

    There is one for each of the `workers` (all cores when left out), or more where one would have more than
    `most` rows. With `few_sizes` they are rounded up so that a few compiled graphs serve all requests.
    """
    count = max(min(workers or cores(), size // LEAST), -(-size // most), 1)
    each = -(-size // count)
    if few_sizes:
        each = rounded(each)
        count = -(-size // each)
    return np.split(np.minimum(np.arange(count * each), size - 1), count)


def run_in_shards(
    run: Callable[[np.ndarray], tuple[np.ndarray, ...]], parts: list[np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Runs `run` on `shards`, as many at once as there are cores, and joins what it returns.

    The operations of a sampling loop are too small for more than one core, but examples do not depend on each
    other.
    """
    if len(parts) == 1:  # what the caller's thread says of devices holds
        results = [run(parts[0])]
    else:
        with ThreadPoolExecutor(min(len(parts), cores())) as pool:
            results = list(pool.map(run, parts))
    size = int(parts[-1][-1]) + 1
    return tuple(np.concatenate(result)[:size] for result in zip(*results, strict=True))


def rounded(size: int) -> int:
    """The next of 1, 4, 8, 12, 16, 24, 32, 48, …, two in an octave: few sizes to compile for."""
    if size <= 1:
        return size
    step = max(LEAST, 1 << max(0, (size - 1).bit_length() - 2))
    return -(-size // step) * step


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
