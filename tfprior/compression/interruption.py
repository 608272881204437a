"""Ctrl-C that is never lost.

Python raises KeyboardInterrupt wherever it stands. In a callback of a library or a destructor nobody hears
it: it is printed as ignored, and the work goes on.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """Gives a function to call now and then, which raises KeyboardInterrupt where Ctrl-C was pressed before.

    Only the main thread hears signals, and handlers of the caller's own stay in force: else nothing is done.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield lambda: None
        return
    pressed = threading.Event()

    def remember(number: int, frame: Any) -> None:
        pressed.set()
        signal.default_int_handler(number, frame)

    def check() -> None:
        if pressed.is_set():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    try:
        yield check
        check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
