"""Damaged compressed files: each is refused in one sentence, or gives back its images.

python -m tests.fuzz.fuzz_compressed --seed 0 --count 2000

refused   ValueError of one sentence
right     decompressed to the images and labels that were compressed
wrong     decompressed to others
raw       another error, or a message that is no sentence
hung      more than ten seconds

Every second file has a checksum that fits the damage, as a hostile writer would make it.
"""

import argparse
import functools
import random
import struct
import zlib
from collections import Counter
from typing import Any

import keras
import numpy as np

from tfprior import compression
from tfprior.compression.container import SIZE, START, WORD
from tfprior.distributions import Categorical
from tfprior.priors import PixelCNN

from .mutations import mutated, outcome

SHAPE, LEVELS, CLASSES = (3, 4, 1), 4, 2


@functools.cache
def original() -> tuple[Any, bytes, np.ndarray, np.ndarray]:
    """A prior, a file that it compressed, its images and their labels."""
    keras.utils.set_random_seed(0)
    prior = PixelCNN(
        SHAPE, Categorical(LEVELS), filters=4, num_layers=1, first_kernel_size=3, num_classes=CLASSES
    )
    images = np.random.default_rng(0).integers(LEVELS, size=(7, *SHAPE)).astype("int32")
    labels = (np.arange(7) % CLASSES).astype("int32")
    return prior, compression.compress(prior, images, labels), images, labels


def sealed(data: bytes) -> bytes:
    """The file with a length and a checksum that fit what it holds."""
    if len(data) < SIZE:
        return data
    words = len(data) - SIZE
    words -= words % WORD
    rest = struct.pack("<I", words // WORD) + data[START.size + 4 : SIZE + words]
    return data[: START.size - 4] + struct.pack("<I", zlib.crc32(rest)) + rest


def run(seed: int, count: int) -> Counter[str]:
    """How often each outcome came of `count` damaged files."""
    prior, data, images, labels = original()
    rng, counts = random.Random(seed), Counter[str]()
    for index in range(count):
        damaged = mutated(data, rng)
        damaged = sealed(damaged) if index % 2 else damaged
        kind, found = outcome(lambda file=damaged: compression.decompress(prior, file), (ValueError,))
        if kind == "returned":
            same = np.array_equal(found.images, images) and np.array_equal(found.labels, labels)
            kind = "right" if same else "wrong"
        counts[kind] += 1
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    options = parser.parse_args()
    print(dict(run(options.seed, options.count)))


if __name__ == "__main__":
    main()
