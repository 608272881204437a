"""Noise from a seed, the same in every language: the counter-based generator Philox4x32-10.

A counter of four words of 32 bits and a key of two give four random words, and keep no state (Salmon et al.
2011, Parallel Random Numbers: As Easy as 1, 2, 3). Each uniform number has a place of its own:

    key       lower and upper half of the seed
    counter   k // 4 · position y · W + x · example · grid of codes, 0 without any
    uniform   number k of a position: (word k mod 4 >> 8) · 2⁻²⁴, exact in float32

So an example has the same noise in whatever batch it is drawn, and nothing has to be drawn before it.
"""

from typing import NamedTuple

import numpy as np

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
LOW = 0xFFFFFFFF
ROUNDS = 10
AT_ONCE = 2**18
"""Counters whose words are in memory together."""

Words = np.ndarray
"""Numbers below 2³² as uint64, which holds products of two."""


class Seed(NamedTuple):
    """What noise follows from: a number below 2⁶⁴, the first example, and the grid of codes."""

    number: int
    first: int = 0
    grid: int = 0


def philox(counter: tuple[Words, Words, Words, Words], key: tuple[int, int]) -> Words:
    """Four random words (…, 4) for each counter, whose words are broadcast."""
    (a, b, c, d), (left, right) = counter, key
    for _ in range(ROUNDS):
        first, second = MULTIPLIERS[0] * a, MULTIPLIERS[1] * c
        a, b, c, d = (second >> 32) ^ b ^ left, second & LOW, (first >> 32) ^ d ^ right, first & LOW
        left, right = (left + WEYL[0]) & LOW, (right + WEYL[1]) & LOW
    return np.stack(np.broadcast_arrays(a, b, c, d), axis=-1)


def uniforms_of(seed: Seed, examples: int, positions: int, per_position: int) -> np.ndarray:
    """Numbers in [0, 1): (examples, positions, per_position) float32."""
    quarters = -(-per_position // 4)
    uniforms = np.empty((examples, positions, per_position), "float32")
    at_once = max(1, AT_ONCE // (positions * quarters))
    for start in range(0, examples, at_once):
        part = uniforms[start : start + at_once]
        counter = (
            np.arange(quarters, dtype="uint64"),
            np.arange(positions, dtype="uint64")[:, None],
            np.arange(seed.first + start, seed.first + start + len(part), dtype="uint64")[:, None, None],
            np.array(seed.grid, "uint64"),
        )
        words = philox(counter, (seed.number & LOW, seed.number >> 32))  # (n, P, K / 4, 4)
        words = words.reshape(len(part), positions, -1)[..., :per_position]
        part[...] = (words >> 8) * np.float32(2**-24)
    return uniforms
