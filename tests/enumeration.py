"""All grids of a tiny prior, and whether samples follow their probabilities."""

import itertools
import math

import numpy as np


def every_grid(grid: tuple[int, int, int], levels: int) -> np.ndarray:
    cells = itertools.product(range(levels), repeat=math.prod(grid))
    return np.array(list(cells), "int32").reshape(-1, *grid)


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Standard deviations of the statistic above its mean, cells with few expected counts put together."""
    order = np.argsort(expected)
    small = np.cumsum(expected[order]) < 10
    cells = np.where(small, 0, np.cumsum(~small))
    observed, expected = (np.bincount(cells, weights=counts[order]) for counts in (observed, expected))
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    return float((((observed - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))
