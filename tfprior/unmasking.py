"""Schedules by which masked grids are decoded in a few iterations: how much is hidden again, and how chosen.

Shapes: N grids · I iterations.
"""

import math

import numpy as np

MASKGIT_ITERATIONS, HALTON_ITERATIONS = 8, 32
"""Where no other number is asked for."""
CHOICE_TEMPERATURE = 4.5
TINY = np.float32(2**-24)
EDGE = 1e-9
"""Added before rounding down, so that a third of six is two by every library's arc cosine."""


def hidden_by_maskgit(count: np.ndarray, iterations: int) -> np.ndarray:
    """How many of as many values (N,) are hidden after each iteration, (I, N) int32.

    After iteration i ⌊count · cos(π i / 2 I)⌋, but at least one less than before, and never none (Chang et
    al. 2022, arXiv:2202.04200).
    """
    left, rows = np.asarray(count), []
    for index in range(1, iterations + 1):
        share = math.cos(math.pi / 2 * index / iterations)
        left = np.maximum(np.minimum(left - 1, np.floor(count * share + EDGE)), np.minimum(count, 1))
        rows.append(left)
    return np.stack(rows).astype("int32")


def hidden_by_halton(count: np.ndarray, iterations: int) -> np.ndarray:
    """How many of as many values (N,) are hidden after each iteration, (I, N) int32.

    At least i of them, and ⌊count · (1 − 2 arccos(i / I) / π)⌋, are drawn by then (Besnier et al. 2025,
    arXiv:2503.17076).
    """
    index = np.arange(1, iterations + 1)[:, None]
    share = 1 - np.arccos(index / iterations) * 2 / math.pi
    return np.maximum(count - np.maximum(index, np.floor(count * share + EDGE)), 0).astype("int32")


def choice_temperatures(iterations: int) -> np.ndarray:
    """What MaskGIT's Gumbel noise is multiplied by in each iteration, fading to 0: (I,) float32."""
    return (CHOICE_TEMPERATURE * (1 - np.arange(1, iterations + 1) / iterations)).astype("float32")
