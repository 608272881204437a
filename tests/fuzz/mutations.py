"""Damaged copies of files, and what becomes of a call that reads one."""

import random
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


class Hung(BaseException):
    """The time of a call is over; no `except Exception` in between swallows it."""


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Another file than `data`: bits flipped, bytes drawn, cut, added, moved, or numbers made extreme."""
    if not data:
        return rng.randbytes(1 + rng.randrange(16))
    while True:
        changed = bytes(rng.choice(MUTATIONS)(bytearray(data), rng))
        if changed != data:
            return changed


def outcome(
    call: Callable[[], Any], refused: tuple[type[BaseException], ...], seconds: int = 10
) -> tuple[str, Any]:
    """("returned", value), ("refused", error), ("raw", error) or ("hung", None); on Unix's main thread only.

    An error of the types `refused` counts as such where its message is one sentence on one line.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Hung

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        return "returned", call()
    except Hung:
        return "hung", None
    except refused as error:
        return ("refused" if is_sentence(str(error)) else "raw"), error
    except Exception as error:
        return "raw", error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def is_sentence(text: str) -> bool:
    """One line of text that ends like a sentence, and is no dump of what came."""
    return text.endswith(".") and "\n" not in text and 20 < len(text) < 1000


def flip_bits(data: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def draw_bytes(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    end = min(len(data), start + rng.choice((1, 2, 4, 16, 64)))
    data[start:end] = rng.randbytes(end - start)
    return data


def cut_off(data: bytearray, rng: random.Random) -> bytearray:
    return data[: rng.randrange(len(data))]


def cut_out(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 16, 64))]
    return data


def add(data: bytearray, rng: random.Random) -> bytearray:
    place = rng.choice((rng.randrange(len(data) + 1), len(data)))
    data[place:place] = rng.randbytes(rng.choice((1, 2, 4, 16, 64)))
    return data


def double(data: bytearray, rng: random.Random) -> bytearray:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 4, 16, 64, 256))]
    data[start:start] = piece
    return data


def swap(data: bytearray, rng: random.Random) -> bytearray:
    size = min(rng.choice((1, 2, 4, 8)), len(data) // 2)
    one, two = (rng.randrange(len(data) - size + 1) for _ in range(2))
    data[one : one + size], data[two : two + size] = data[two : two + size], data[one : one + size]
    return data


def exaggerate(data: bytearray, rng: random.Random) -> bytearray:
    """Lengths, sizes and offsets are numbers of 2 or 4 bytes, in either order."""
    size = min(rng.choice((1, 2, 4)), len(data))
    start = rng.randrange(len(data) - size + 1)
    number = rng.choice(EXTREMES) % 256**size
    data[start : start + size] = number.to_bytes(size, rng.choice(("little", "big")))
    return data


MUTATIONS = (flip_bits, flip_bits, draw_bytes, cut_off, cut_out, add, double, swap, exaggerate)
