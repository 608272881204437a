"""A batch shared out to the cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

LEAST = 4
"""Examples in a shard: with fewer, a step costs as much as with four."""
MOST = 128
"""Examples in a shard: with more, a step takes memory and gains no time."""
OVERHEAD = 3
"""What a step of a shard costs beside its examples, in examples."""
AT_ONCE = 256
"""Examples that a whole network takes at once, for the same reason."""
ON_ACCELERATOR = 1024
"""Examples that an accelerator takes at once."""


def shards(size: int, workers: int | None = None, most: int = MOST) -> list[np.ndarray]:
    """The rows 0 … size − 1 in shards of equal size, the last row repeated where it must be.

    There is one for each of the `workers` (all cores when left out), or more where one would have more than
    `most` rows.
    """
    count = max(min(workers or cores(), size // LEAST), -(-size // most), 1)
    each = -(-size // count)
    return np.split(np.minimum(np.arange(count * each), size - 1), count)


def few_sized_shards(
    size: int, workers: int | None = None, most: int = MOST, overhead: int = OVERHEAD
) -> list[np.ndarray]:
    """The rows 0 … size − 1 in shards of 1, 4, 8, 16, … rows, that few compiled graphs serve all requests.

    All have one size but the last, which may have a smaller one, the last row repeated where it must be: of
    all such shares the one that the workers are through with first.

    Args:
        size: number of rows.
        workers: that share them; all cores when left out.
        most: rows of a shard.
        overhead: what a shard costs beside its rows, in rows.
    """
    sizes = [1 << power for power in range(most.bit_length()) if power != 1]
    shares = []
    for each in sizes:
        full, rest = divmod(size, each)
        last = [next(smaller for smaller in sizes if smaller >= rest)] if rest else []
        shares.append([each] * full + last)
    share = min(shares, key=lambda share: (_time(share, workers or cores(), overhead), len(share)))
    return np.split(np.minimum(np.arange(sum(share)), size - 1), np.cumsum(share)[:-1])


def _time(share: list[int], workers: int, overhead: int) -> int:
    """When the last worker is through, in rows: each takes every next shard."""
    return max(
        sum(share[worker::workers]) + overhead * len(share[worker::workers]) for worker in range(workers)
    )


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
