"""Draws for all requests to a bundle at once, by continuous batching.

Threads take examples as they have room, those of different requests in turn; rows and images are told to the
request as they come.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tfprior.export.client import OnnxSampler
from tfprior.export.continuous_batching import ContinuousBatch, Example
from tfprior.serving.drawing import Drawing


class Busy(Exception):
    """More examples wait than are allowed."""


class Closed(Exception):
    """The server ends, or the bundle was taken away."""


class News(NamedTuple):
    """What became of a request's example: rows of its first grid, its image, or an error of the request.

    Attributes:
        example: its number in the request.
        rows: how many rows of pixels are done.
        values: of these, (rows, W, C), or the whole image.
        log_prob: nats of all that was drawn; None until the image is done.
    """

    example: int
    rows: int
    values: np.ndarray
    log_prob: float | None


Told = Callable[[News | BaseException], None]
"""Called from a thread of the engine."""


class Job:
    """A request that is being drawn.

    Args:
        drawing: its images.
        told: hears its news.
        by_row: whether rows are news.
    """

    def __init__(self, drawing: Drawing, told: Told, by_row: bool = False) -> None:
        self.drawing, self.told, self.by_row = drawing, told, by_row
        self.waiting = deque(enumerate(drawing.examples))
        self.is_over = False


class _Place(NamedTuple):
    """Whose an example is, and the grids above it."""

    job: Job
    number: int
    above: list[Example]


Places = dict[Example, _Place]


class Engine:
    """Threads that draw from one bundle.

    Args:
        samplers: of the bundle's priors, coarse to fine.
        slots: examples that are drawn together in each thread.
        threads: how many.
        most_waiting: examples that may wait.

    Attributes:
        drawn: how many images were finished.
    """

    def __init__(self, samplers: Sequence[OnnxSampler], slots: int, threads: int, most_waiting: int) -> None:
        self.samplers, self.slots, self.most_waiting = samplers, slots, most_waiting
        self.drawn = 0
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()  # with examples that wait
        self._is_closing = self._is_draining = False
        self._places: list[Places] = [{} for _ in range(threads)]
        self._threads = [
            threading.Thread(target=self._work, args=[places], name="drawing", daemon=True)
            for places in self._places
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """How many examples wait for a slot."""
        with self._changed:
            return sum(len(job.waiting) for job in self._jobs)

    @property
    def in_slots(self) -> int:
        """How many examples are being drawn."""
        return sum(map(len, self._places))

    def submit(self, job: Job) -> None:
        """Draws a request as soon as there is room.

        Raises:
            Busy: where too many wait.
            Closed: after `close`.
        """
        with self._changed:
            if self._is_closing or self._is_draining:
                raise Closed("The server is ending.")
            waiting = sum(len(other.waiting) for other in self._jobs)
            if waiting and waiting + len(job.waiting) > self.most_waiting:
                raise Busy(f"{waiting} examples wait; expected at most {self.most_waiting}.")
            self._jobs.append(job)
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """Lets go of a request that nobody waits for any more."""
        with self._changed:
            self._end(job)
            self._changed.notify_all()

    def close(self, finish: bool = False) -> None:
        """Ends the threads: at once, or where `finish` says so after all that was submitted."""
        with self._changed:
            self._is_draining = True
            self._is_closing = not finish
            self._changed.notify_all()

    def _end(self, job: Job) -> None:
        job.is_over = True
        job.waiting.clear()
        if job in self._jobs:
            self._jobs.remove(job)

    def _work(self, places: Places) -> None:
        batches = self._batches()
        while True:
            joining = self._next(places)
            if joining is None:
                break
            try:
                for example, place in list(places.items()):
                    if place.job.is_over:
                        batches[len(place.above)].leave(example)
                        del places[example]
                self._join(batches, places, joining)
                for batch in batches:
                    for example in batch.advance():
                        self._go_on(batches, places, example)
            except Exception as error:  # of the bundle, or of ours: who waits is told, and others start anew
                self._fail(places, {**places, **joining}, error)
                batches = self._batches()
        self._fail(places, places, Closed("The server ended before the image was done."))

    def _batches(self) -> list[ContinuousBatch]:
        return [sampler.continuous_batch() for sampler in self.samplers]

    def _next(self, places: Places) -> Places | None:
        """Examples of all requests in turn, as there is room; None at the end."""
        with self._changed:
            while not (places or self._jobs or self._is_draining):
                self._changed.wait()
            if self._is_closing or (self._is_draining and not places and not self._jobs):
                return None
            joining: Places = {}
            while self._jobs and len(places) + len(joining) < self.slots:
                job = self._jobs.popleft()
                number, example = job.waiting.popleft()
                joining[example] = _Place(job, number, [])
                if job.waiting:
                    self._jobs.append(job)
            return joining

    def _join(self, batches: list[ContinuousBatch], places: Places, joining: Places) -> None:
        """Takes examples in; one of which everything is known may be done at once."""
        places.update(joining)
        grids = {len(place.above) for place in joining.values()}
        for grid in grids:
            batches[grid].join([one for one, place in joining.items() if len(place.above) == grid])
        for example in joining:
            if example.is_done:
                self._go_on(batches, places, example)

    def _go_on(self, batches: list[ContinuousBatch], places: Places, example: Example) -> None:
        """Tells of new rows; what is done makes room for the grid below it, or is an image."""
        job, number, above = places[example]
        if not example.is_done:
            if job.by_row and job.drawing.rows_are_pixels and not job.is_over:
                job.told(News(number, example.rows, example.values[: example.rows].copy(), None))
            return
        self.samplers[len(above)].check(example)
        drawn = [*above, example]
        if not job.is_over:
            made = job.drawing.after(number, drawn)
            if isinstance(made, Example):
                self._join(batches, places, {made: _Place(job, number, drawn)})
            else:
                with self._changed:
                    self.drawn += 1
                job.told(News(number, len(made), made, sum(each.log_prob for each in drawn)))
        del places[example]

    def _fail(self, places: Places, failing: Places, error: Exception) -> None:
        with self._changed:
            failed = {place.job for place in failing.values()}
            if isinstance(error, Closed):
                failed.update(self._jobs)
            for job in failed:
                if not job.is_over:
                    self._end(job)
                    job.told(error)
            places.clear()
