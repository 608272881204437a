"""Damage to bytes, and what became of reading them."""

import signal
import types
from collections.abc import Callable

import numpy as np

OUTCOMES = ("refused", "right", "wrong", "raw", "hung")


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with bits flipped, bytes overwritten, a part cut out, doubled, or the end cut off."""
    changed = bytearray(data)
    first, last = sorted(int(position) for position in rng.integers(0, len(data) + 1, 2))
    match rng.integers(5):
        case 0:
            for position in rng.integers(0, len(data), rng.integers(1, 4)):
                changed[position] ^= 1 << int(rng.integers(8))
        case 1:
            part = slice(first, min(last, first + 8))
            changed[part] = rng.bytes(len(changed[part]))
        case 2:
            del changed[first : min(last, first + 64)]
        case 3:
            changed[first:first] = changed[first : min(last, first + 64)]
        case _:
            del changed[last:]
    return bytes(changed)


class _Hung(BaseException):
    pass


def outcome(call: Callable[[], bool], refused: type[Exception], seconds: float) -> str:
    """What became of a call that says whether its result is right: one of OUTCOMES.

    `refused` is the error that is expected of damaged data, in one line; any other is raw.
    """

    def interrupt(number: int, frame: types.FrameType | None) -> None:
        raise _Hung

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return "right" if call() else "wrong"
    except refused as error:
        return "raw" if "\n" in str(error) else "refused"
    except _Hung:
        return "hung"
    except Exception:
        return "raw"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
