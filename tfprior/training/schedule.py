"""The learning rate of a run, step by step."""

import math
from typing import Any

import keras

from tfprior.training.clock import Clock


class Schedule(keras.callbacks.Callback):
    """Warms the learning rate up, lets it fall as a cosine, and stops at the end of the clock.

    The cosine reaches zero with the last step or with the clock, whichever comes first, which a schedule of
    steps alone cannot do. A finished run that is trained for more epochs begins a schedule of its own: the
    rate rises to its height again, and reaches zero at the new end.

    Args:
        learning_rate: at its highest.
        warmup_steps: over which it rises.
        total_steps: from the beginning of the schedule to its end.
        clock: of the training.
        step: that comes first; those before were done before an interruption.
    """

    def __init__(
        self, learning_rate: float, warmup_steps: int, total_steps: int, clock: Clock, step: int = 0
    ) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.clock = clock
        self.step = step

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        done = min(1.0, max(self.step / self.total_steps, self.clock.share()))
        warmth = min(1.0, (self.step + 1) / max(1, self.warmup_steps))
        self.model.optimizer.learning_rate = self.learning_rate * warmth * (1 + math.cos(math.pi * done)) / 2
        self.step += 1

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.clock.share() >= 1:
            self.model.stop_training = True
