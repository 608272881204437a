"""Training that is killed at any moment, and started again, ends as if nothing had happened."""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tfprior.atomic import remove_unfinished
from tfprior.backend_noise import backend_noise, set_backend_noise
from tfprior.runs.lock import locked
from tfprior.training.callback_states import set_states, states_of
from tfprior.training.resumable_data import resumable
from tfprior.training.same_training import check_same, training_of
from tfprior.training.state_file import TrainingState, newest_state, read_state


class ExactResume(keras.callbacks.Callback):
    """Saves all that training goes on from, and goes on from it when `fit` is called again.

    ```python
    model.fit(images, epochs=20, callbacks=[tfprior.training.ExactResume("backup/")])
    ```

    Killed at any moment, and started again by the same lines, training ends with the weights, the optimizer,
    the averages, the codebooks, the noise and the history of one that was never interrupted, bit for bit; on
    GPUs, after `tf.config.experimental.enable_op_determinism()`. What EarlyStopping, ModelCheckpoint,
    ReduceLROnPlateau and SwapEMAWeights remember is kept too, and of other callbacks that have `get_state`
    and `set_state`.

    The order of the data has to be a function of the step. That of arrays becomes one; a `tf.data.Dataset`
    has to give the same batches in every epoch, and a `ResumableDataset` knows its order.

    With several workers the chief alone reads and writes.

    Args:
        path: a folder of its own.
        every_minutes: how often it is saved within an epoch; None: only at the end of one.
        seed: of the order of arrays.
        stops_for_good: whether training that a callback ended, as EarlyStopping does, is over: `fit` then
            gives back what it came to.

    Raises:
        ValueError: in `fit`, for the state of another training, data whose order is not known, and files of
            which none can be read.
        BlockingIOError: in `fit`, while another process trains with the same folder.
        OSError: where a state cannot be written; the one before stays.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every_minutes: float | None = 10,
        seed: int = 0,
        stops_for_good: bool = True,
    ) -> None:
        super().__init__()
        if every_minutes is not None and not every_minutes >= 0:
            raise ValueError(f"every_minutes={every_minutes!r}; expected a number from 0, or None.")
        self.path = Path(path)
        self.every_minutes = every_minutes
        self.seed = seed
        self.stops_for_good = stops_for_good

    @contextlib.contextmanager
    def around_fit(self, model: Any, arguments: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Restores the model; the arguments of `fit` become those that go on from there."""
        arguments, data = resumable(arguments, self.seed)
        if data.steps_per_epoch % model.steps_per_execution:
            raise ValueError(
                f"{data.steps_per_epoch} steps of an epoch in groups of steps_per_execution="
                f"{model.steps_per_execution}; expected a divisor of them: compile with another one."
            )
        with contextlib.ExitStack() as stack:
            if model.is_chief:
                stack.enter_context(locked(self.path))
                remove_unfinished(self.path)
            self._training = training_of(model, data, self.seed)
            self._steps_per_epoch = data.steps_per_epoch
            self._others = [each for each in arguments["callbacks"] if each is not self]
            start = arguments["initial_epoch"] * data.steps_per_epoch
            self._state = shared_by_workers(model, newest_state(self.path) if model.is_chief else None)
            if self._state is not None:
                check_same(self._state.training, self._training, self.path)
                start = self._state.step
                self._restore(model, self._state, ("model", "optimizer"))
            epoch = self._epochs_done = start // data.steps_per_epoch
            stopped = self.stops_for_good and self._state is not None and self._state.stopped
            yield {
                **arguments,
                "x": data.after(start),
                "y": None,
                "shuffle": False,
                "steps_per_epoch": data.steps_per_epoch,
                "initial_epoch": epoch,
                "epochs": epoch if stopped else arguments["epochs"],
                "callbacks": [*self._others, self],  # which sees what the others remember of an epoch
            }

    def on_train_begin(self, logs: Any = None) -> None:
        self._history: dict[str, list[float]] = {}
        self._first = 0
        self._noise: Sequence[np.ndarray] = ()
        self._saved = time.monotonic()
        self._iterator = self.model.epoch_iterator
        if self._state is not None:
            self._history = {name: list(scores) for name, scores in self._state.history.items()}
            self._first = self._state.steps_of_epoch
            set_states(self._others, self._state.callbacks, self._state.arrays)
        self.model.history.history = {name: list(scores) for name, scores in self._history.items()}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._done = self._first
        # Keras asks its iterator anew in every epoch.
        self._iterator.steps_per_epoch = self._steps_per_epoch - self._first
        if self._state is not None:
            self._noise = self._state.arrays.get("noise", ())
            if self._first:
                self._restore(self.model, self._state, ("metrics",))
        self._first, self._state = 0, None

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        set_backend_noise(self._noise)  # only now: data loaders draw from it too when they begin
        self._noise = ()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        done = self._done + batch + 1
        is_due = self.every_minutes is not None and time.monotonic() - self._saved >= 60 * self.every_minutes
        if is_due and done < self._steps_per_epoch:
            self._save(self._epochs_done * self._steps_per_epoch + done)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, score in (logs or {}).items():
            self._history.setdefault(name, []).append(float(score))
        self._epochs_done = epoch + 1
        self._save(self._epochs_done * self._steps_per_epoch)

    def on_train_end(self, logs: Any = None) -> None:
        self.model.history.epoch = list(range(self._epochs_done))
        del self._iterator

    def _save(self, step: int) -> None:
        model = self.model
        if not model.is_chief:
            return
        callbacks, theirs = states_of(self._others)
        noise = backend_noise()
        arrays = {
            part: [model.held(each) for each in variables] for part, variables in variables_of(model).items()
        }
        state = TrainingState(
            step=step,
            steps_per_epoch=self._steps_per_epoch,
            arrays={**arrays, **({"noise": noise} if noise else {}), **theirs},
            history=self._history,
            callbacks=callbacks,
            training=self._training,
            stopped=bool(model.stop_training),
        )
        try:
            state.write(self.path)
        except OSError as error:
            raise OSError(
                f"{self.path}: the state after step {step} could not be written ({error.strerror or error}); "
                "the one before is as it was: make room, and start again to go on."
            ) from error
        self._saved = time.monotonic()

    def _restore(self, model: Any, state: TrainingState, parts: Sequence[str]) -> None:
        for part in parts:
            variables, arrays = variables_of(model)[part], state.arrays.get(part, ())
            shapes = [tuple(variable.shape) for variable in variables]
            if shapes != [array.shape for array in arrays]:
                raise ValueError(f"{self.path} holds the state of another {part}; choose another folder.")
            for variable, array in zip(variables, arrays, strict=True):
                model.hold(variable, array)


def variables_of(model: Any) -> dict[str, list[Any]]:
    """All that changes in training, by part; seeds of noise are among the model's."""
    return {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def shared_by_workers(model: Any, state: TrainingState | None) -> TrainingState | None:
    """The state that the chief has read, on all workers."""
    if not model.is_one_of_workers:
        return state
    with io.BytesIO() as stream:
        if state is not None:
            state.write_to(stream)
        message = model.from_chief(stream.getvalue())
    if model.is_chief or not message:
        return state
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "state.npz"
        file.write_bytes(message)
        return read_state(file)
