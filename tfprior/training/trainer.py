"""One training run, from a data set to a folder of results."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from tfprior.atomic import write_text
from tfprior.compilation import xla_by_default
from tfprior.data import Images, hold_out_validation
from tfprior.grid_model import GridModel
from tfprior.measuring.baselines import baseline_bits
from tfprior.measuring.likelihood import inputs_of, scores_of
from tfprior.registry import build_model
from tfprior.runs.conditions import ConditionMap, condition_map_of
from tfprior.runs.model_card import model_card
from tfprior.runs.run_folder import CARD, RESUME, RunFolder, holds_run
from tfprior.training.checkpoints import Checkpoints
from tfprior.training.clock import Clock
from tfprior.training.description import describe
from tfprior.training.exact_resume import ExactResume
from tfprior.training.fine_tuning import source_of, take_weights
from tfprior.training.illustration import illustrate
from tfprior.training.optimizer import AveragedAdamW
from tfprior.training.options import TrainingOptions
from tfprior.training.report import Report
from tfprior.training.resuming import Begun, begun_in, full_disk_explained, opened
from tfprior.training.schedule import Schedule
from tfprior.training.state_file import keep_newest
from tfprior.training.tensorboard import show_on_tensorboard, tensorboard_logs
from tfprior.training.while_training import check_pictures, pictures_while_training
from tfprior.training.workers import Workers

Compile = Callable[[GridModel, TrainingOptions], None]


def train(
    images: Images,
    model: Mapping[str, Any],
    out: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    source: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    console: Console | None = None,
    initial: str | os.PathLike[str] | None = None,
    tokenizer: str | os.PathLike[str] | None = None,
    strategy: Any = None,
) -> RunFolder:
    """Trains a prior or a tokenizer into the folder `out`; called again, it goes on where it was stopped.

    A finished run goes on where more epochs, or more minutes, are asked for: its optimizer's state is kept,
    and the learning rate rises again over the warm-up and reaches zero at the new end.

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
        initial: a run, or a .keras file, of the same architecture, whose weights are the first ones.
        tokenizer: run or .keras file of the tokenizer of codes of a finer grid; where the codes remember it
            when left out.
        strategy: of `tf.distribute`: a MirroredStrategy or a MultiWorkerMirroredStrategy. Of several workers
            the chief, which is the first, writes the folder; the others return a run without a result.

    Raises:
        ValueError: for options that do not fit, a folder that holds a finished or another run, damaged files,
            and an `initial` of another architecture.
        FileExistsError: for a folder that holds anything else.
        BlockingIOError: while another process trains into the folder.
        OSError: where a checkpoint cannot be written; the one before stays.
        ArithmeticError: when training diverges.
    """
    options = options or TrainingOptions()
    workers = Workers(strategy)
    console = (console or Console()) if workers.is_chief else Console(quiet=True)
    workers.check(options.batch_size, options.minutes)
    keras.utils.set_random_seed(options.seed)
    if options.smallest_crop is not None and images.are_codes:
        raise ValueError(
            f"{images.name} holds codes, and cropped codes are not those of cropped images; train without "
            "--smallest-crop (smallest_crop=None)."
        )
    if options.flip and images.are_codes:
        raise ValueError(
            f"{images.name} holds codes, and mirrored codes are not those of mirrored images; train without "
            "--flip (flip=False)."
        )
    if options.xla == "on" and keras.backend.backend() == "torch":
        raise ValueError('Got xla="on" on PyTorch, which has no XLA; leave it at "auto".')
    condition_map = condition_map_of(images, tokenizer)
    check_pictures(options.pictures_every, condition_map)
    with workers.scope():
        untrained = build_model(images, model, condition_map and condition_map.shape, options.precision)
    part = (options.validation_fraction, options.validation_limit, options.batch_size, options.seed)
    seen, held_out = hold_out_validation(images, *part)
    path = Path(out)
    if initial is None:
        first = None
    elif holds_run(path) and not overwrite:
        first = source_of(initial, path)
    else:
        first = take_weights(untrained, initial, path)
    config = describe(images, model, dataclasses.asdict(options), source, untrained, first)
    return train_into(
        path, config, untrained, seen, held_out, options, overwrite, console, condition_map, workers
    )


def train_into(
    path: Path,
    config: dict[str, Any],
    untrained: GridModel,
    seen: Images,
    held_out: Images,
    options: TrainingOptions,
    overwrite: bool,
    console: Console,
    condition_map: ConditionMap | None,
    workers: Workers,
    compile_with: Compile | None = None,
) -> RunFolder:
    """Trains a model into the folder of a run, from where that stands to its end; raises as `train` does."""
    # Whatever the arguments can be refused for is refused by now: this writes, and deletes an old run.
    with contextlib.ExitStack() as stack:
        stack.enter_context(workers.lost_ones_explained())
        workers.check_same(config)
        stack.enter_context(full_disk_explained(path))
        run = RunFolder(path, config)
        if workers.is_chief:
            run = stack.enter_context(opened(path, config, overwrite, options.total_epochs))
        with workers.scope():
            (compile_with or compile_model)(untrained, options)
        seconds, rows = fit(untrained, run, seen, held_out, options, console, condition_map, workers)
        if workers.is_chief:
            run = finish(run, seen, held_out, seconds, rows, options, console, condition_map)
        workers.wait()
        return run


def finish(
    run: RunFolder,
    seen: Images,
    held_out: Images,
    seconds: float,
    rows: list[dict[str, float]],
    options: TrainingOptions,
    console: Console,
    condition_map: ConditionMap | None,
) -> RunFolder:
    """Measures the best model and writes the pictures, the card and the result."""
    scores = scores_of(
        run.load(), held_out.x_train, held_out.y_train, options.batch_size, condition_map=condition_map
    )
    best = run.score.best_of(row["validation"] for row in rows)
    result = {
        "epochs": len(rows),
        "seconds": round(seconds, 1),
        "best_epoch": next(int(row["epoch"]) for row in rows if row["validation"] == best),
        f"best_{run.score.name}": scores.pop(run.score.name),
        **scores,
        "baselines": baseline_bits(seen.x_train, held_out.x_train, seen.num_levels, seen.are_codes)
        if run.score.is_likelihood
        else {},
    }
    illustrate(run, held_out, rows, result, options.seed, console, condition_map)
    show_on_tensorboard(run, len(rows))
    write_text(run.file(CARD), model_card(run, result))
    run.checkpoint().settled(run.path).write(run.path)
    keep_newest(run.file(RESUME), 1)
    # The result marks the run as finished, so it is written after everything else.
    return run.write_config(result=result)


def fit(
    model: GridModel,
    run: RunFolder,
    seen: Images,
    held_out: Images,
    options: TrainingOptions,
    console: Console,
    condition_map: ConditionMap | None,
    workers: Workers,
) -> tuple[float, list[dict[str, float]]]:
    """Trains from where the folder stands to the end; returns the seconds and the metrics of every epoch."""
    conditional = model.num_classes is not None or condition_map is not None
    batch_size = min(options.batch_size, len(seen.x_train))
    steps = len(seen.x_train) // batch_size
    begun = Begun(**workers.told_by_chief(dataclasses.asdict(begun_in(run)) if workers.is_chief else None))
    rows, epochs = begun.rows, options.total_epochs
    clock = Clock(begun.seconds, options.minutes and 60 * options.minutes, begun.first_seconds)
    if len(rows) >= epochs or (rows and clock.share() >= 1):
        return clock.spent, rows
    if begun.steps:
        words = f"{run.path}: going on after epoch {begun.steps // steps}"
        words += f" and {begun.steps % steps} of {steps} steps" if begun.steps % steps else ""
        console.print(words, markup=False, highlight=False, soft_wrap=True)
    average = keras.callbacks.SwapEMAWeights() if options.ema else None
    checkpoints = Checkpoints(run, rows, clock, average)
    report = Report(console, run.score, epochs, steps, clock, checkpoints.best, begun.steps % steps)
    for_chief = [
        report,
        checkpoints,
        *pictures_while_training(run, model, held_out, options.pictures_every, options.seed, console),
        *tensorboard_logs(run),
    ]
    total_steps = (epochs - begun.first_epoch) * steps
    validation = inputs_of(
        model,
        held_out.x_train,
        held_out.y_train,
        min(options.batch_size, len(held_out.x_train)),
        condition_map,
    )
    try:
        model.fit(
            seen.resumable(
                batch_size,
                seed=options.seed,
                conditional=conditional,
                flip=options.flip,
                resized_crop=options.resized_crop,
                drop_remainder=True,
                condition_map=condition_map,
            ),
            validation_data=validation["x"],
            validation_batch_size=validation.get("batch_size"),
            epochs=epochs,
            verbose=0,
            callbacks=[
                Schedule(
                    options.learning_rate,
                    min(options.warmup_steps, total_steps // 10),
                    total_steps,
                    clock,
                    begun.steps - begun.first_epoch * steps,
                ),
                *([average] if average else []),
                *(for_chief if workers.is_chief else []),
                # What the clock ended goes on where it is given more minutes.
                ExactResume(run.file(RESUME), options.checkpoint_minutes, stops_for_good=False),
            ],
        )
    finally:
        report.close()
    return rows[-1]["seconds"] if rows else clock.seconds(), rows


def compile_model(model: GridModel, options: TrainingOptions) -> None:
    averaging = {"use_ema": True, "ema_momentum": options.ema} if options.ema else {}
    optimizer = AveragedAdamW(
        options.learning_rate,
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm,
        **averaging,
    )
    by_xla = xla_by_default() if options.xla == "auto" else options.xla == "on"
    model.compile(optimizer=optimizer, jit_compile=by_xla)
