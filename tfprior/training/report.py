"""What the terminal shows while a run trains."""

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tfprior.score import Score
from tfprior.training.clock import Clock, clock_face


class Report(keras.callbacks.Callback):
    """A bar for the epoch under way, and a line for each one that ended; lines alone where no terminal is."""

    def __init__(
        self,
        console: Console,
        score: Score,
        epochs: int,
        steps: int,
        clock: Clock,
        best: float,
        done: int = 0,
    ) -> None:
        super().__init__()
        self.console = console
        self.score = score
        self.epochs = epochs
        self.steps = steps
        self.clock = clock
        self.best = best
        self.done = done
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            _Speed(),
            TextColumn("{task.fields[loss]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    @property
    def of_epochs(self) -> str:
        return f"/{self.epochs}" if self.clock.limit is None else ""

    def on_train_begin(self, logs: Any = None) -> None:
        self.started = self.clock.seconds()
        self.steps_done = 0
        self.first_epoch = 0
        self.task = self.progress.add_task("compiling", total=self.steps, loss="")
        self.progress.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch_started, self.first_step = time.monotonic(), self.steps_done
        if self.steps_done == 0:
            self.first_epoch = epoch
        self.progress.reset(self.task, description=f"epoch {epoch + 1}{self.of_epochs}", loss="")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps_done += 1
        loss = ""
        if self.console.is_terminal and batch % 10 == 0:
            loss = f"{float(logs[self.score.name]):.3f} {self.score.unit} · {self._aside(logs)}"
            self.progress.update(self.task, completed=self.done + batch + 1, loss=loss)
        else:
            self.progress.update(self.task, completed=self.done + batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        train, validation = float(logs[self.score.name]), float(logs[f"val_{self.score.name}"])
        speed = (self.steps_done - self.first_step) / max(1e-9, time.monotonic() - self.epoch_started)
        self.done = 0
        mark = " *" if self.score.improves(validation, self.best) else ""
        self.best = self.score.best_of((self.best, validation))
        self.console.print(
            f"epoch {epoch + 1}{self.of_epochs} · train {train:.4f} · validation "
            f"{validation:.4f} {self.score.unit}{mark} · {self._aside(logs)} · {speed:.1f} it/s · ETA "
            f"{clock_face(self._remaining(epoch))}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )

    def _aside(self, logs: dict[str, Any]) -> str:
        """What else is worth knowing: the loss, or of a tokenizer how its codebook is used."""
        if "perplexity" in logs:
            return f"perplexity {float(logs['perplexity']):.1f}, {float(logs['dead_codes']):.0f} dead codes"
        return f"{float(logs['loss']):.4f} {self.model.loss_unit}"

    def _remaining(self, epoch: int) -> float:
        here = self.clock.seconds() - self.started
        by_epochs = here / (epoch + 1 - self.first_epoch) * (self.epochs - epoch - 1)
        if self.clock.limit is None:
            return by_epochs
        return max(0.0, min(by_epochs, self.clock.limit - self.clock.seconds()))

    def on_train_end(self, logs: Any = None) -> None:
        self.close()

    def close(self) -> None:
        """Takes the bar away; also after an error."""
        self.progress.stop()


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:5.1f} it/s" if task.speed else "          ")
