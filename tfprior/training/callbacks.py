"""What happens while a run trains: learning rate, wall clock, checkpoints, progress."""

import importlib.util
import math
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tfprior.runs.checkpoint import written_together
from tfprior.runs.run_folder import BEST, LAST, METRICS, RESUME, TENSORBOARD, RunFolder


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


class Checkpoints(keras.callbacks.Callback):
    """Writes metrics, best and last model, and what a resumed run needs, after every epoch.

    They are written beside those of the epoch before and then moved into place, the file to resume from last:
    whoever is killed in between does that epoch again, and best.keras may then hold what no row tells of, so
    `train` measures it once more at the end.

    Args:
        run: the folder.
        rows: metrics of the epochs before.
        clock: of the training.
        average: swaps the averaged weights in for evaluation; None without averaging.

    Raises:
        ArithmeticError: when the score is no longer a number.
        OSError: when the files cannot be written; those of the epoch before stay.
    """

    def __init__(
        self,
        run: RunFolder,
        rows: list[dict[str, float]],
        clock: Clock,
        average: keras.callbacks.SwapEMAWeights | None,
    ) -> None:
        super().__init__()
        self.run = run
        self.rows = rows
        self.clock = clock
        self.average = average

    @property
    def best(self) -> float:
        return self.run.best_of(row["validation"] for row in self.rows)

    def on_train_begin(self, logs: Any = None) -> None:
        # Without an optimizer, so that the files hold a model and no more.
        self.plain = type(self.model).from_config(self.model.get_config())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "train": float(logs[self.run.score]),
            "validation": float(logs[f"val_{self.run.score}"]),
            "seconds": self.clock.seconds(),
            **other_scores(logs, self.run.score),
        }
        if not math.isfinite(row["train"]) or not math.isfinite(row["validation"]):
            raise ArithmeticError(
                f"Training diverged in epoch {epoch + 1} ({self.run.unit} {row['train']} in training, "
                f"{row['validation']} in validation); train anew (--overwrite) at a lower --learning-rate."
            )
        self._copy_weights()
        improved = self.run.improves(row["validation"], self.best)
        try:
            self._write(epoch + 1, [*self.rows, row], [BEST] if improved else [])
        except (OSError, RuntimeError) as error:  # HDF5 has either of a full disk
            reason = " ".join(str(error).split()).rstrip(".")[:300]
            raise OSError(
                f"{self.run.path}: the checkpoint of epoch {epoch + 1} could not be written ({reason}); what "
                "was there is as it was: make room, and give the same command to go on."
            ) from error
        self.rows.append(row)

    def _write(self, epoch: int, rows: list[dict[str, float]], best: list[str]) -> None:
        with written_together(self.run.path, [METRICS, *best, LAST, RESUME], epoch) as paths:
            self.run.write_history(rows, paths[METRICS])
            for name in (*best, LAST):
                self.plain.save(paths[name])
            self.model.save_weights(paths[RESUME])

    def _copy_weights(self) -> None:
        if self.average is not None:
            self.average.on_test_begin()
        self.plain.set_weights(self.model.get_weights())
        if self.average is not None:
            self.average.on_test_end()


class Report(keras.callbacks.Callback):
    """A bar for the epoch under way, and a line for each one that ended; lines alone where no terminal is."""

    def __init__(
        self, console: Console, run: RunFolder, epochs: int, steps: int, clock: Clock, best: float
    ) -> None:
        super().__init__()
        self.console = console
        self.run = run
        self.epochs = epochs
        self.steps = steps
        self.clock = clock
        self.best = best
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
        self.epoch_started = time.monotonic()
        if self.steps_done == 0:
            self.first_epoch = epoch
        self.progress.reset(self.task, description=f"epoch {epoch + 1}{self.of_epochs}", loss="")

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.steps_done += 1
        loss = ""
        if self.console.is_terminal and batch % 10 == 0:
            loss = f"{float(logs[self.run.score]):.3f} {self.run.unit} · {self._aside(logs)}"
            self.progress.update(self.task, completed=batch + 1, loss=loss)
        else:
            self.progress.update(self.task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        train, validation = float(logs[self.run.score]), float(logs[f"val_{self.run.score}"])
        speed = self.steps / max(1e-9, time.monotonic() - self.epoch_started)
        mark = " *" if self.run.improves(validation, self.best) else ""
        self.best = self.run.best_of((self.best, validation))
        self.console.print(
            f"epoch {epoch + 1}{self.of_epochs} · train {train:.4f} · validation "
            f"{validation:.4f} {self.run.unit}{mark} · {self._aside(logs)} · {speed:.1f} it/s · ETA "
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


def other_scores(logs: dict[str, Any], score: str) -> dict[str, float]:
    """What was measured on the validation part beside `score`; of priors nothing."""
    names = [name.removeprefix("val_") for name in logs if name.startswith("val_")]
    return {name: float(logs[f"val_{name}"]) for name in names if name not in ("loss", score)}


def clock_face(seconds: float) -> str:
    """4:05, or 1:02:03 from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def tensorboard(run: RunFolder) -> list[keras.callbacks.Callback]:
    """Logs for TensorBoard where the extra is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return []
    return [keras.callbacks.TensorBoard(str(run.file(TENSORBOARD)), write_graph=False)]


def show_on_tensorboard(run: RunFolder, epoch: int) -> None:
    """Adds the run's pictures to its logs for TensorBoard, where the extra is installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(str(run.file(TENSORBOARD) / "pictures")).as_default():
        for name in run.pictures:
            picture = tf.io.decode_png(run.file(name).read_bytes(), channels=3)
            tf.summary.image(run.file(name).stem, picture[None], step=epoch)
