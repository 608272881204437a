"""The pictures of a run that are drawn while it trains."""

from typing import Any

import keras
from rich.console import Console

from tfprior.data import Images, spread
from tfprior.generator import Generator
from tfprior.runs.conditions import ConditionMap
from tfprior.runs.opening import tokenizer_of
from tfprior.runs.run_folder import DRAWN_WHILE_TRAINING, TENSORBOARD, RunFolder
from tfprior.training.drawing import NUM_RECONSTRUCTIONS
from tfprior.training.illustration import say_grey
from tfprior.training.picture_logger import PictureLogger
from tfprior.training.tensorboard import is_installed


def check_pictures(every: int | None, condition_map: ConditionMap | None) -> None:
    """Raises ValueError for pictures while a prior of finer codes trains."""
    if every is not None and condition_map is not None:
        raise ValueError(
            f"pictures_every={every}; a prior of finer codes is drawn once it is trained: leave it out."
        )


def pictures_while_training(
    run: RunFolder, model: Any, held_out: Images, every: int | None, seed: int, console: Console
) -> list[PictureLogger]:
    """What draws the model into the folder of the run every so many epochs; codes through their tokenizer."""
    if every is None:
        return []
    shown, images, labels = model, None, None
    if held_out.are_codes:
        try:
            shown = Generator(tokenizer_of(held_out.origin, held_out.name), model)
        except (OSError, ValueError) as error:
            say_grey(error, console)
    else:
        index = spread(held_out.y_train, len(held_out.x_train))[:NUM_RECONSTRUCTIONS]
        images = held_out.x_train[index]
        labels = held_out.y_train[index] if model.num_classes is not None else None
    on_tensorboard = is_installed() and keras.backend.backend() == "tensorflow"
    return [
        PictureLogger(
            run.file(DRAWN_WHILE_TRAINING),
            images,
            labels,
            every=every,
            model=shown,
            seed=seed,
            log_dir=run.file(TENSORBOARD) if on_tensorboard else None,
        )
    ]
