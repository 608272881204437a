"""Pictures of what a model makes while it trains."""

import os
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tfprior.image_model import ImageModel
from tfprior.inputs import check_condition
from tfprior.masked_images import MaskedImages
from tfprior.sampling.masks import hidden_part
from tfprior.tokenizers.base import Tokenizer
from tfprior.training.drawing import draw_completions, draw_reconstructions, draw_samples
from tfprior.training.tensorboard import is_installed, picture_writer, write_pictures

Draw = Callable[[Path], None]
DIGITS = {"epoch": 4, "step": 7}


class PictureLogger(keras.callbacks.Callback):
    """Draws samples and completions of a prior, or reconstructions of a tokenizer, while it trains.

    After three epochs `folder` has samples-epoch-0003.png and completions-epoch-0003.png, or
    reconstructions-epoch-0003.png. The noise is the same every time, so that pictures compare, and training
    goes on as if nothing had been drawn. The first pictures compile for seconds, later ones do not.

    Drawn are the weights that validation measures, averaged ones where there is `SwapEMAWeights`; by steps,
    and without validation, those that are there when it is this callback's turn. Under tf.distribute the
    chief draws. Weights that are NaN are not drawn, and a warning says so.

    Args:
        folder: of the PNG files.
        images: integers (N, H, W, C) that are not trained on. A tokenizer needs them, and reconstructs the
            first 32; a prior completes the first eight, and without them draws samples alone.
        condition: of a conditional prior, one for each image. Samples are drawn of each class, ten at most;
            of conditions that are no classes, one for each.
        every: epochs, or steps of the optimizer, from one picture to the next.
        unit: "epoch" or "step".
        mask: what of the images is hidden, to be completed: "left", "right", "top", "bottom", "centre", the
            path of a PNG that is bright there, or an array (H, W), True there.
        model: what draws instead of the model that is trained, as the `Generator` of a prior of codes.
        columns: of the sheet of samples. It has a row for each class, or as many rows as columns.
        seed: of the noise.
        log_dir: of `keras.callbacks.TensorBoard`, which then shows the pictures too.

    Raises:
        ValueError: before training, for arguments that do not fit each other or the model.
        FileExistsError: before training, for a folder that is a file.
        ModuleNotFoundError: for a log_dir where TensorBoard is not installed.
        OSError: where a picture cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        images: Any = None,
        condition: Any = None,
        *,
        every: int = 1,
        unit: Literal["epoch", "step"] = "epoch",
        mask: Any = "bottom",
        model: ImageModel | None = None,
        columns: int = 8,
        seed: int = 0,
        log_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        super().__init__()
        if unit not in DIGITS:
            raise ValueError(f"unit={unit!r}; expected 'epoch' or 'step'.")
        for name, value in (("every", every), ("columns", columns)):
            if value < 1:
                raise ValueError(f"{name}={value}; expected at least 1.")
        if log_dir is not None:
            check_tensorboard(log_dir)
        self.folder = Path(folder)
        self.images: Any = None if images is None else np.asarray(images)
        self.condition: Any = None if condition is None else np.asarray(condition)
        self.every = every
        self.unit = unit
        self.mask = mask
        self.drawn_model = model
        self.columns = columns
        self.seed = seed
        self.log_dir = log_dir
        self._is_due = False
        self._writer: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        if self.folder.is_file():
            raise FileExistsError(f"{self.folder} is a file; expected a folder for the pictures.")
        self._sheets = self._sheets_of(self.drawn_model or self.model)
        self._step = self._steps_done()
        if self.model.is_chief:
            self.folder.mkdir(parents=True, exist_ok=True)  # fails before any work where it cannot be made

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._epoch = epoch + 1
        self._first_step = self._steps_done()
        self._is_due = self.unit == "epoch" and self._epoch % self.every == 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        if self.unit == "step":
            self._reach(self._first_step + batch)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        # Every callback has had its on_test_begin: these are the very weights that are measured.
        if self._is_due:
            self._draw(self._epoch)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self._is_due:
            self._draw(self._epoch)
        elif self.unit == "step":
            self._reach(self._steps_done())

    def on_train_end(self, logs: Any = None) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _steps_done(self) -> int:
        return int(ops.convert_to_numpy(self.model.optimizer.iterations))

    def _reach(self, step: int) -> None:
        is_due = step // self.every > self._step // self.every
        self._step = step
        if is_due:
            self._draw(step)

    def _draw(self, count: int) -> None:
        """Draws every sheet; `count` are the epochs or steps that are done."""
        self._is_due = False
        model = self.model  # on JAX this brings its weights back from the loop
        if not model.is_chief:
            return
        if not all(np.isfinite(weight).all() for weight in model.get_weights()):
            warnings.warn(
                f"{self.unit} {count} has no pictures: the model's weights are NaN or infinite.", stacklevel=2
            )
            return
        number = f"{self.unit}-{count:0{DIGITS[self.unit]}}"
        files = {name: self.folder / f"{name}-{number}.png" for name in self._sheets}
        with python_noise_kept():
            for name, draw in self._sheets.items():
                draw(files[name])
        if self.log_dir is not None:
            self._writer = self._writer or picture_writer(self.log_dir)
            write_pictures(self._writer, files, count)

    def _sheets_of(self, model: Any) -> dict[str, Draw]:
        """What is drawn of a model: name → how; or ValueError."""
        if isinstance(model, Tokenizer | MaskedImages):
            return {"reconstructions": self._reconstructions(model)}
        if not isinstance(model, ImageModel):
            raise ValueError(
                f"PictureLogger got a {type(model).__name__} to draw from; expected a prior, a tokenizer, a "
                "generator or MaskedImages."
            )
        samples = {"samples": self._samples(model)}
        return samples if self.images is None else {**samples, "completions": self._completions(model)}

    def _reconstructions(self, model: Tokenizer | MaskedImages) -> Draw:
        if self.images is None:
            raise ValueError(
                "PictureLogger got no images to reconstruct; pass some that the model is not trained on."
            )
        model.check_inputs(self.images, self.condition)
        return lambda path: draw_reconstructions(model, self.images, path)

    def _samples(self, model: ImageModel) -> Draw:
        if model.num_classes is None or self.condition is not None:
            check_condition(self.condition, model.condition_kind)
        return lambda path: draw_samples(model, path, self.seed, self.condition, self.columns)

    def _completions(self, model: ImageModel) -> Draw:
        model.check_inputs(self.images, self.condition)
        given = isinstance(self.mask, str | os.PathLike)
        mask = hidden_part(os.fspath(self.mask), model.grid_shape) if given else np.asarray(self.mask)
        if mask.dtype != bool or mask.shape != model.grid_shape[:2]:
            raise ValueError(
                f"The mask is {mask.dtype} of shape {mask.shape}; expected bool of shape "
                f"{model.grid_shape[:2]}, True where images are hidden."
            )
        return lambda path: draw_completions(model, self.images, mask, path, self.seed, self.condition)


def check_tensorboard(log_dir: Any) -> None:
    """Raises ValueError or ModuleNotFoundError where no pictures can be written for TensorBoard."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"PictureLogger got log_dir={str(log_dir)!r}, and TensorFlow writes pictures for TensorBoard; on "
            f"{keras.backend.backend()} leave it out: the PNG files are the same."
        )
    if not is_installed():
        raise ModuleNotFoundError(
            f"PictureLogger got log_dir={str(log_dir)!r}, and tensorboard is not installed; get it with: "
            "pip install 'tfprior[tensorboard]'",
            name="tensorboard",
        )


@contextmanager
def python_noise_kept() -> Iterator[None]:
    """Leaves Python's random numbers as they were: a model that is copied to sample from draws of them."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)
