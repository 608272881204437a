"""What happens while a run trains: learning rate, wall clock, checkpoints, progress."""

import importlib.util
import math
import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from tfprior.atomic import atomic_path
from tfprior.runs.model_file import save_model
from tfprior.runs.run_folder import BEST, LAST, RESUME, TENSORBOARD, RunFolder


class Clock:
    """Seconds of training, those before an interruption included."""

    def __init__(self, spent: float, limit: float | None) -> None:
        self.spent = spent
        self.limit = limit
        self.start = time.monotonic()

    def seconds(self) -> float:
        return self.spent + time.monotonic() - self.start

    def share(self) -> float:
        """How much of the limit is used up; 0 without one."""
        return 0.0 if self.limit is None else self.seconds() / self.limit


class Schedule(keras.callbacks.Callback):
    """Warms the learning rate up, lets it fall as a cosine, and stops at the end of the clock.

    The cosine reaches zero with the last step or with the clock, whichever comes first, which a schedule of
    steps alone cannot do.
    """

    def __init__(self, learning_rate: float, warmup_steps: int, total_steps: int, clock: Clock) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps
        self.total_steps = total_steps
        self.clock = clock

    def on_train_begin(self, logs: Any = None) -> None:
        self.step = int(self.model.optimizer.iterations)

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

    The file to resume from comes last: whoever is killed before it does that epoch again, and best.keras may
    then hold what no row tells of, so `train` measures it once more at the end.

    Args:
        run: the folder.
        rows: metrics of the epochs before.
        clock: of the training.
        average: swaps the averaged weights in for evaluation; None without averaging.

    Raises:
        ArithmeticError: when the loss is no longer a number.
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
        return min((row["validation"] for row in self.rows), default=math.inf)

    def on_train_begin(self, logs: Any = None) -> None:
        # Without an optimizer, so that the files hold a model and no more.
        self.plain = type(self.model).from_config(self.model.get_config())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "train": float(logs["bits_per_dim"]),
            "validation": float(logs["val_bits_per_dim"]),
            "seconds": self.clock.seconds(),
            **further_scores(logs),
        }
        if not math.isfinite(row["train"]) or not math.isfinite(row["validation"]):
            raise ArithmeticError(
                f"Training diverged in epoch {epoch + 1} ({self.run.unit} {row['train']} in training, "
                f"{row['validation']} in validation); train anew (--overwrite) at a lower --learning-rate."
            )
        improved = row["validation"] < self.best
        self.rows.append(row)
        self.run.write_history(self.rows)
        self._copy_weights()
        if improved:
            save_model(self.plain, self.run.file(BEST))
        save_model(self.plain, self.run.file(LAST))
        with atomic_path(self.run.file(RESUME)) as temporary:
            self.model.save_weights(temporary)

    def _copy_weights(self) -> None:
        if self.average is not None:
            self.average.on_test_begin()
        self.plain.set_weights(self.model.get_weights())
        if self.average is not None:
            self.average.on_test_end()


class Report(keras.callbacks.Callback):
    """A bar for the epoch under way, and a line for each one that ended; lines alone where no terminal is."""

    def __init__(
        self, console: Console, epochs: int, steps: int, clock: Clock, best: float, unit: str
    ) -> None:
        super().__init__()
        self.console = console
        self.unit = unit
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
            loss = f"{float(logs['bits_per_dim']):.3f} {self.unit} · {aside(logs)}"
            self.progress.update(self.task, completed=batch + 1, loss=loss)
        else:
            self.progress.update(self.task, completed=batch + 1)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        validation = float(logs["val_bits_per_dim"])
        speed = self.steps / max(1e-9, time.monotonic() - self.epoch_started)
        mark = " *" if validation < self.best else ""
        self.best = min(self.best, validation)
        self.console.print(
            f"epoch {epoch + 1}{self.of_epochs} · train {float(logs['bits_per_dim']):.4f} · validation "
            f"{validation:.4f} {self.unit}{mark} · {aside(logs)} · {speed:.1f} it/s · ETA "
            f"{clock_face(self._remaining(epoch))}",
            highlight=False,
            soft_wrap=True,
        )

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


def further_scores(logs: dict[str, Any]) -> dict[str, float]:
    """What was measured on the validation part beside its bits per dimension; for priors nothing."""
    names = [name.removeprefix("val_") for name in logs if name.startswith("val_")]
    return {name: float(logs[f"val_{name}"]) for name in names if name not in ("loss", "bits_per_dim")}


def aside(logs: dict[str, Any]) -> str:
    """What else is worth knowing: of a prior its loss, of a tokenizer how its codebook is used."""
    if "perplexity" in logs:
        return f"perplexity {float(logs['perplexity']):.1f}, {float(logs['dead_codes']):.0f} dead codes"
    return f"{float(logs['loss']):.4f} nats/dim"


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
