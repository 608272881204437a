"""What tests do to workers, in a file that these import without anything heavy."""

import os
import signal
import sys
from typing import Any


def modules() -> set[str]:
    """What a worker has imported."""
    return {name.split(".")[0] for name in sys.modules}


def die_at(function: str) -> None:
    """Makes the worker kill itself where it calls a function of tfprior.bulk.shards."""
    from tfprior.bulk import shards

    def killed(*args: Any, **options: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(shards, function, killed)


def die_at_two(number: int, known: None) -> int:
    """Takes its worker with it."""
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def refuse_two(number: int, known: None) -> int:
    if number == 2:
        raise ValueError("2 is not to be had; expected another number.")
    return number


def fail_once(file: str, number: int, known: None) -> int:
    """The system hinders the first attempt."""
    if number == 2 and not os.path.exists(file):
        with open(file, "w"):
            raise OSError("the file system is away")
    return number
