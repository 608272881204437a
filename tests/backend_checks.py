"""What holds on every backend that trains, to be called in a process on that backend."""

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest


def interrupted_run() -> None:
    """What `tfprior train` does, as a whole and interrupted, and what is drawn from it."""
    import small_runs

    from tfprior.training import train
    from tfprior.training.exact_resume import ExactResume

    class Interrupted(ExactResume):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            super().on_epoch_end(epoch, logs)
            raise KeyboardInterrupt

    images = small_runs.made()
    model = {**small_runs.MODEL, "dropout": 0.3}
    how: Any = {"options": small_runs.options(ema=0.9), "console": small_runs.QUIET}
    with tempfile.TemporaryDirectory() as folder:
        whole = train(images, model, Path(folder, "whole"), **how)
        with (
            mock.patch("tfprior.training.trainer.ExactResume", Interrupted),
            pytest.raises(KeyboardInterrupt),
        ):
            train(images, model, Path(folder, "parts"), **how)
        parts = train(images, model, Path(folder, "parts"), **how)
        for weight, same in zip(whole.load().get_weights(), parts.load().get_weights(), strict=True):
            np.testing.assert_array_equal(same, weight)
        scores = [[row["validation"] for row in run.history()] for run in (whole, parts)]
        assert scores[0] == scores[1]
        assert parts.file("samples.png").is_file()


def compressed_images() -> None:
    """Images come back from a compressed file that knows where it was made."""
    import catalogue
    import keras

    from tfprior.compression import compress, decompress, read_header
    from tfprior.priors import GatedPixelCNN

    prior = catalogue.prior(GatedPixelCNN, (2, 3, 3), "maps")
    values, given = catalogue.values_of(prior, 4), catalogue.condition_of(prior, 4)
    data = compress(prior, values, given, batch_size=3)
    np.testing.assert_array_equal(decompress(prior, data, given).images, values)
    assert read_header(data).environment.backend == keras.backend.backend()


def xla_is_refused() -> None:
    """Before anything is written, where there is none."""
    import small_runs

    from tfprior.training import train

    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(ValueError, match='xla="on" on PyTorch, which has no XLA; leave it at "auto"'):
            train(small_runs.made(), small_runs.MODEL, Path(folder, "run"), small_runs.options(xla="on"))
        assert not list(Path(folder).iterdir())
