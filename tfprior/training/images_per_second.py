"""How fast a model trains."""

import time
from typing import Any

import keras
from keras import ops


class ImagesPerSecond(keras.callbacks.Callback):
    """Adds `images_per_second` to what an epoch reports: of training alone, without validation.

    It stands before the callbacks that are to see it, as CSVLogger and TensorBoard; `History` has it anyway.
    The first step of a training, which compiles, does not count unless it is the only one of its epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._speed: float | None = None
        self._measures = False

    def on_train_begin(self, logs: Any = None) -> None:
        self._is_first_step = True

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._speed, self._measures = None, True
        self._start, self._before = time.perf_counter(), 0.0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if batch and self._is_first_step:
            self._before = self._images()
            self._start = time.perf_counter()
        self._is_first_step = self._is_first_step and not batch

    def on_test_begin(self, logs: Any = None) -> None:  # after the last step, and before the count is reset
        self._measure()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._measure()
        if logs is not None:
            logs["images_per_second"] = self._speed

    def _measure(self) -> None:
        if self._measures:
            images = self._images() - self._before  # waits for the steps that are under way
            self._speed = images / (time.perf_counter() - self._start)
            self._measures = False

    def _images(self) -> float:
        """Examples of this epoch so far, all replicas' together: what the mean of the loss is over."""
        loss = next(metric for metric in self.model.metrics if metric.name == "loss")
        return float(ops.convert_to_numpy(loss.count))
