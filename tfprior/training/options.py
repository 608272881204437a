"""How a model is trained."""

import dataclasses
from typing import Literal

DEFAULT_EPOCHS = 20
MANY_EPOCHS = 100_000
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA = ("auto", "on", "off")


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
        smallest_crop: the least share of a training image's area that a crop of it has, for example 0.2; the
            crop, of an aspect from 3/4 to 4/3, is resized to the image's size. Images stay whole without it.
        seed: decides the first weights, the order of the images, the dropout and the part held out.
        validation_fraction: share of the training images that is held out.
        validation_limit: the most images held out.
        xla: whether XLA compiles the step, which takes some seconds. With auto it does on JAX and on
            accelerators; on a CPU it makes TensorFlow's steps of few networks faster, those on small grids,
            and of most slower.
        precision: that the layers compute in while they train. Weights, losses and codebooks are float32 in
            all of them, and so is the trained model wherever it draws, measures or is exported.
        checkpoint_minutes: how often the state of the training is saved within an epoch, beside at its end.
        pictures_every: epochs from one picture of what the model makes to the next, in the folder pictures;
            none before the end when left out.

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
    smallest_crop: float | None = None
    seed: int = 0
    validation_fraction: float = 0.1
    validation_limit: int = 2000
    xla: Literal["auto", "on", "off"] = "auto"
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    checkpoint_minutes: float = 10.0
    pictures_every: int | None = None

    def __post_init__(self) -> None:
        positive = ("epochs", "minutes", "batch_size", "learning_rate", "clip_norm", "validation_limit")
        for name in (*positive, "checkpoint_minutes", "pictures_every"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}={value}; expected a positive number.")
        for name in ("warmup_steps", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected a number from 0.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema={self.ema}; expected a momentum between 0 and 1, for example 0.995.")
        if self.smallest_crop is not None and not 0 < self.smallest_crop <= 1:
            raise ValueError(
                f"smallest_crop={self.smallest_crop}; expected a share of the area above 0 and up to 1, for "
                "example 0.2."
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision={self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        if self.xla not in XLA:
            raise ValueError(f"xla={self.xla!r}; expected one of {', '.join(XLA)}.")

    @property
    def resized_crop(self) -> tuple[float, float] | None:
        """Shares of an image's area that crops of it have; None without crops."""
        return None if self.smallest_crop is None else (self.smallest_crop, 1.0)

    @property
    def total_epochs(self) -> int:
        return self.epochs or (DEFAULT_EPOCHS if self.minutes is None else MANY_EPOCHS)
