"""Fine-tuning into the folder of a run, which goes on where it was stopped."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from tfprior.data import Images
from tfprior.probing.fine_tuning import compile_for, learning, parted
from tfprior.probing.options import FineTuningOptions
from tfprior.probing.scoring import Pooling
from tfprior.runs import RunFolder, load_encoder
from tfprior.training.description import describe
from tfprior.training.fine_tuning import source_of
from tfprior.training.trainer import train_into
from tfprior.training.workers import Workers


def fine_tune_run(
    pretrained: str | os.PathLike[str],
    images: Images,
    out: str | os.PathLike[str],
    options: FineTuningOptions | None = None,
    pooling: Pooling = "mean",
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> RunFolder:
    """Fine-tunes as `fine_tune` does, into the folder `out`; called again, it goes on where it was stopped.

    The folder is that of `tfprior.training.train`: the best model and the last one, metrics of every epoch,
    the model card, and all that training goes on from. Its models are `LabelledImages`.

    Args:
        pretrained: a run, or a .keras file, with the encoder; it stays as it is.
        images: with labels in both parts; the test part stays unseen.
        out: the folder of the run.
        options: how to train.
        pooling: "class_token", or "mean" over the map.
        source: arguments of `tfprior.data.load` that give these images again, for `evaluate` later.
        overwrite: starts anew where a run exists.
        console: where progress goes; the terminal when left out.

    Raises:
        ValueError: for images that `fine_tune` refuses, a folder that holds a finished or another run, and
            damaged files.
        FileNotFoundError: for an encoder that is not there.
        FileExistsError: for a folder that holds anything else.
        BlockingIOError: while another process trains into the folder.
        OSError: where a checkpoint cannot be written; the one before stays.
        ArithmeticError: when training diverges.
    """
    options = options or FineTuningOptions()
    path = Path(out)
    keras.utils.set_random_seed(options.seed)
    encoder, scaling = load_encoder(pretrained)
    model = learning(encoder, images, options, scaling, pooling)
    seen, held_out = parted(images, options)
    initial = {**source_of(pretrained, path), "digest": model.weights_digest()}
    description = {"name": "classifier", "encoder": type(encoder).__name__, "pooling": pooling}
    config = describe(images, description, dataclasses.asdict(options), source, model, initial)
    steps = max(len(seen.x_train) // options.batch_size, 1)
    return train_into(
        path,
        config,
        model,
        seen,
        held_out,
        options.of_training(steps),
        overwrite,
        console or Console(),
        None,
        Workers(None),
        lambda untrained, _: compile_for(options, untrained),
    )
