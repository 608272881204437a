"""The time that a run has trained for, and how times are shown."""

import time


class Clock:
    """Seconds of training, those before an interruption included.

    Args:
        spent: seconds so far.
        limit: seconds at which training is to end; None for no such end.
        begin: seconds at which the training that is under way began.
    """

    def __init__(self, spent: float, limit: float | None, begin: float = 0.0) -> None:
        self.spent = spent
        self.limit = limit
        self.begin = begin
        self.start = time.monotonic()

    def seconds(self) -> float:
        return self.spent + time.monotonic() - self.start

    def share(self) -> float:
        """How much of the time up to the limit is used up; 0 without one."""
        if self.limit is None:
            return 0.0
        return 1.0 if self.limit <= self.begin else (self.seconds() - self.begin) / (self.limit - self.begin)


def clock_face(seconds: float) -> str:
    """4:05, or 1:02:03 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
