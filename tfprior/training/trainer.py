"""One training run, from a data set to a folder of results."""

import dataclasses
import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console

from tfprior import __version__
from tfprior.atomic import TEMPORARY, remove_unfinished, write_text
from tfprior.data import Images
from tfprior.grid_model import GridModel
from tfprior.measuring.baselines import baseline_bits
from tfprior.measuring.likelihood import hold_out_validation, inputs_of, scores_of
from tfprior.registry import build_model
from tfprior.runs.model_card import model_card
from tfprior.runs.run_folder import CARD, CONFIG, RESUME, RunFolder, load_run
from tfprior.training.callbacks import (
    Checkpoints,
    Clock,
    Report,
    Schedule,
    show_on_tensorboard,
    tensorboard,
)
from tfprior.training.illustration import illustrate
from tfprior.training.optimizer import AveragedAdamW

DEFAULT_EPOCHS = 20
MANY_EPOCHS = 100_000


@dataclasses.dataclass(frozen=True)
class TrainingOptions:
    """How a prior or a tokenizer is trained; the model and the data are described apart.

    Args:
        epochs: passes over the training images; 20, or as many as fit where `minutes` is given.
        minutes: the longest time to train; the learning rate falls to zero by its end.
        batch_size: images in a step.
        learning_rate: the highest one, reached after the warm-up.
        warmup_steps: steps over which the learning rate rises.
        weight_decay: strength of AdamW's weight decay.
        clip_norm: the most that the gradients' global norm may be; larger ones are scaled down to it.
        ema: highest momentum of averaged weights, for example 0.995 (it rises to it with the steps), which
            are evaluated and kept instead of the last ones; nothing is averaged when left out.
        flip: mirrors half of the training images left to right.
        seed: decides the first weights, the order of the images, the dropout and the part held out.
        validation_fraction: share of the training images that is held out.
        validation_limit: the most images held out.
        xla: compiles the step with XLA: about twice as fast on a CPU after some seconds of compiling.

    Raises:
        ValueError: for options out of range.
    """

    epochs: int | None = None
    minutes: float | None = None
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    ema: float | None = None
    flip: bool = False
    seed: int = 0
    validation_fraction: float = 0.1
    validation_limit: int = 2000
    xla: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "minutes", "batch_size", "learning_rate", "clip_norm", "validation_limit"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value}; expected a positive number.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema={self.ema}; expected a momentum between 0 and 1, for example 0.995.")

    @property
    def total_epochs(self) -> int:
        return self.epochs or (DEFAULT_EPOCHS if self.minutes is None else MANY_EPOCHS)


def train(
    images: Images,
    model: Mapping[str, Any],
    out: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    console: Console | None = None,
) -> RunFolder:
    """Trains a prior or a tokenizer into the folder `out`; called again, it goes on where it was stopped.

    Validation looks at a held-out part of the training images; the test part stays unseen. Keras's global
    random seed is set.

    Args:
        images: the data set.
        model: what `build_model` takes.
        out: the folder of the run.
        options: how to train.
        source: arguments of `tfprior.data.load` that give these images or codes again, for `evaluate` later.
        overwrite: starts anew where a run exists.
        console: where progress goes; the terminal when left out.

    Raises:
        ValueError: for options that do not fit, and a folder that holds a finished or another run.
        FileExistsError: for a folder that holds anything else.
        ArithmeticError: when training diverges.
    """
    options = options or TrainingOptions()
    console = console or Console()
    keras.utils.set_random_seed(options.seed)
    if options.flip and images.are_codes:
        raise ValueError(
            f"{images.name} holds codes, and mirrored codes are not those of mirrored images; train without "
            "--flip (flip=False)."
        )
    untrained = build_model(images, model)
    part = (options.validation_fraction, options.validation_limit, options.batch_size, options.seed)
    seen, held_out = hold_out_validation(images, *part)
    # Whatever the arguments can be refused for is refused by now: this writes, and deletes an old run.
    run = open_folder(Path(out), describe(images, model, options, source, untrained), overwrite)
    seconds, rows = fit(untrained, run, seen, held_out, options, console)
    # Measured, not taken from the rows: whoever is killed between best.keras and the file to resume from does
    # that epoch again, and its row goes while its weights may stay the best.
    scores = scores_of(run.load(), held_out.x_train, held_out.y_train, options.batch_size)
    result = {
        "epochs": len(rows),
        "seconds": round(seconds, 1),
        "best_epoch": int(min(rows, key=lambda row: row["validation"])["epoch"]),
        "best_bits_per_dim": scores.pop("bits_per_dim"),
        **scores,
        "baselines": baseline_bits(seen.x_train, held_out.x_train, images.num_levels, images.are_codes),
    }
    illustrate(run, held_out, rows, result, options.seed, console)
    show_on_tensorboard(run, len(rows))
    write_text(run.file(CARD), model_card(run, result))
    # The result marks the run as finished, so it is written after everything else.
    run = run.write_config(result=result)
    run.file(RESUME).unlink(missing_ok=True)
    return run


def fit(
    model: GridModel,
    run: RunFolder,
    seen: Images,
    held_out: Images,
    options: TrainingOptions,
    console: Console,
) -> tuple[float, list[dict[str, float]]]:
    """Trains from where the folder stands to the end; returns the seconds and the metrics of every epoch."""
    conditional = model.num_classes is not None
    batch_size = min(options.batch_size, len(seen.x_train))
    steps = len(seen.x_train) // batch_size
    compile_model(model, options)
    first, rows = resume(model, run, steps)
    clock = Clock(rows[-1]["seconds"] if rows else 0.0, options.minutes and 60 * options.minutes)
    epochs = options.total_epochs
    if first >= epochs or (rows and clock.share() >= 1):
        return clock.spent, rows
    if first:
        console.print(f"{run.path}: going on after epoch {first}", highlight=False, soft_wrap=True)
    average = keras.callbacks.SwapEMAWeights() if options.ema else None
    checkpoints = Checkpoints(run, rows, clock, average)
    report = Report(console, epochs, steps, clock, checkpoints.best, run.unit)
    try:
        model.fit(
            # Another order after an interruption than at the beginning.
            seen.pipeline(
                "train",
                batch_size,
                seed=options.seed + first,
                conditional=conditional,
                flip=options.flip,
                drop_remainder=True,
            ),
            validation_data=inputs_of(model, held_out.x_train, held_out.y_train),
            shuffle=False,  # the pipeline shuffles
            validation_batch_size=min(options.batch_size, len(held_out.x_train)),
            initial_epoch=first,
            epochs=epochs,
            verbose=0,
            callbacks=[
                Schedule(
                    options.learning_rate,
                    min(options.warmup_steps, epochs * steps // 10),
                    epochs * steps,
                    clock,
                ),
                *([average] if average else []),
                report,
                checkpoints,
                *tensorboard(run),
            ],
        )
    finally:
        report.close()
    return rows[-1]["seconds"], rows


def compile_model(model: GridModel, options: TrainingOptions) -> None:
    averaging = {"use_ema": True, "ema_momentum": options.ema} if options.ema else {}
    optimizer = AveragedAdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm,
        **averaging,
    )
    model.compile(optimizer=optimizer, jit_compile=options.xla)


def resume(model: GridModel, run: RunFolder, steps: int) -> tuple[int, list[dict[str, float]]]:
    """Restores weights and optimizer of an interrupted run: (epochs done, their metrics).

    The count of epochs is the optimizer's own count of steps, so that it can never disagree with the weights.

    Raises:
        ValueError: for a damaged file.
    """
    file = run.file(RESUME)
    if not file.exists():
        return 0, []
    model.optimizer.build(model.trainable_variables)
    try:
        model.load_weights(file)
    except Exception as error:
        raise ValueError(
            f"{file} is damaged ({type(error).__name__}) and the run cannot go on; start it anew with "
            "--overwrite."
        ) from error
    rows = run.history()
    done = min(len(rows), -(-int(model.optimizer.iterations) // steps))
    return done, rows[:done]


def open_folder(path: Path, config: dict[str, Any], overwrite: bool) -> RunFolder:
    """A new run, or the unfinished one that `path` holds."""
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; expected a folder for --out.")
    if not path.exists() or all(entry.name.startswith(TEMPORARY) for entry in path.iterdir()):
        remove_unfinished(path)
        return RunFolder(path, config).write_config()
    if not (path / CONFIG).exists():
        raise FileExistsError(f"{path} holds files and no run; choose another --out.")
    if overwrite:
        RunFolder(path, {}).clear()
        return RunFolder(path, config).write_config()
    run = load_run(path)
    if run.result:
        raise ValueError(
            f"{path} holds a finished run ({run.result['epochs']} epochs, "
            f"{run.result['best_bits_per_dim']:.4f} {run.unit}); pass --overwrite to train anew."
        )
    changed = differences(run.config, config)
    if changed:
        raise ValueError(
            f"{path} holds an unfinished run with another {', '.join(changed)}; give the same command to go "
            "on, or --overwrite to train anew."
        )
    remove_unfinished(path)
    return run


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of what differs in data, model and options, as "name (before, now after)"."""
    return [
        f"{name} ({before[section].get(name)}, now {now[section].get(name)})"
        for section in ("data", "model", "options")
        for name in sorted({*before[section], *now[section]})
        if before[section].get(name) != now[section].get(name)
    ]


def describe(
    images: Images,
    model: Mapping[str, Any],
    options: TrainingOptions,
    source: Mapping[str, Any] | None,
    untrained: GridModel,
) -> dict[str, Any]:
    """The configuration of a run, in JSON's types."""
    origin = images.origin
    return {
        "data": {
            **(source or {"name_or_path": images.name}),
            "grid_shape": list(images.grid_shape),
            "levels": images.num_levels,
            "images": len(images.x_train),
            **({"class_names": list(images.class_names)} if images.class_names else {}),
            **({"codes_of": origin and dataclasses.asdict(origin)} if images.are_codes else {}),
        },
        "model": {**model, "parameters": untrained.count_params()},
        "options": dataclasses.asdict(options),
        "versions": {
            "tfprior": __version__,
            "keras": keras.__version__,
            keras.backend.backend(): backend_version(),
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
    }


def backend_version() -> str:
    """As the module tells it: its package may have another name, as tensorflow-cpu has."""
    return str(importlib.import_module(keras.backend.backend()).__version__)
