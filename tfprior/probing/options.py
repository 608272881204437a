"""How an encoder is fine-tuned."""

import dataclasses

from tfprior.training.options import TrainingOptions


@dataclasses.dataclass(frozen=True)
class FineTuningOptions:
    """How an encoder and its head learn classes together; as MAE does it where nothing else is said.

    Args:
        epochs: passes over the training images.
        batch_size: images in a step.
        learning_rate: the highest one, of the head, reached after the warm-up; it falls as a cosine to zero.
        warmup_epochs: over which the learning rate rises.
        weight_decay: strength of AdamW's weight decay.
        layer_decay: of the learning rate from each block to the one before it.
        label_smoothing: share of the probability that targets give to all classes alike.
        flip: mirrors half of the training images left to right.
        smallest_crop: the least share of a training image's area that a crop of it has, for example 0.2; the
            crop, of an aspect from 3/4 to 4/3, is resized to the image's size. Images stay whole without it.
        seed: decides the head's first weights, the order of the images, crops, dropout and the part held out.
        validation_fraction: share of the training images that is held out.
        validation_limit: the most images held out.
        checkpoint_minutes: how often the state of the training is saved within an epoch, beside at its end.

    Raises:
        ValueError: for options out of range.
    """

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.05
    layer_decay: float = 0.75
    label_smoothing: float = 0.1
    flip: bool = False
    smallest_crop: float | None = None
    seed: int = 0
    validation_fraction: float = 0.1
    validation_limit: int = 2000
    checkpoint_minutes: float = 10.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "validation_limit", "checkpoint_minutes"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected a positive number.")
        for name in ("warmup_epochs", "weight_decay", "seed"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}; expected a number from 0.")
        for name in ("layer_decay", "smallest_crop"):
            share = getattr(self, name)
            if share is not None and not 0 < share <= 1:
                raise ValueError(f"{name}={share}; expected a number above 0 and up to 1.")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(
                f"validation_fraction={self.validation_fraction}; expected a number between 0 and 1."
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing}; expected a share from 0 to below 1.")

    def of_training(self, steps_per_epoch: int) -> TrainingOptions:
        """The same in the words of other trainings, which count the warm-up in steps."""
        shared = {field.name for field in dataclasses.fields(TrainingOptions)}
        own = {name: value for name, value in dataclasses.asdict(self).items() if name in shared}
        return TrainingOptions(**own, warmup_steps=int(self.warmup_epochs * steps_per_epoch))
