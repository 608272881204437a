"""A data set of integer images, or of codes. Legend: N images, B batch, H height, W width, C channels."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tfprior.resumable_dataset import ResumableDataset

from .image_size import check_image_size
from .levels import (
    as_coarser,
    as_labels,
    as_values,
    check_channels_last,
    check_num_levels,
    fit_levels,
    quantized,
)

if TYPE_CHECKING:
    import tensorflow as tf

    from .augmentation import Augmentation
    from .pipeline import Batches


@dataclasses.dataclass(frozen=True)
class CodesOrigin:
    """Where codes come from.

    Attributes:
        tokenizer: path of the run, or of the .keras file, of the tokenizer that gave them.
        digest: SHA-256 of its weights.
        images: arguments of `load` that give the images again.
        grid: which of the tokenizer's grids they are of, from 0, the coarsest.
        num_grids: how many the tokenizer has.
    """

    tokenizer: str
    digest: str
    images: dict[str, Any]
    grid: int = 0
    num_grids: int = 1

    def told(self) -> dict[str, Any]:
        """As a run's config.json holds it: of a single grid, nothing of grids."""
        told = dataclasses.asdict(self)
        return (
            told if self.num_grids > 1 else {name: told[name] for name in ("tokenizer", "digest", "images")}
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Images:
    """Images (N, H, W, C) with levels in [0, num_levels), split into train and test, with or without labels.

    Values are stored as uint8 up to 256 levels and as int32 beyond, labels as int32 (N,). Images (N, H, W)
    get a channel axis. `are_codes` says that the levels are numbers of a codebook, which have no order, and
    `origin` which tokenizer gave them. Codes of a finer grid have in place of labels the codes
    (N, h, w, G) of the next coarser one, which a prior of them is conditioned on.

    Raises:
        ValueError: for values that are not integers in [0, num_levels), an empty split, splits of different
            grids, images with channels first, and labels that do not number the images' classes.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray | None
    x_test: np.ndarray
    y_test: np.ndarray | None
    num_levels: int
    class_names: tuple[str, ...] | None = None
    are_codes: bool = False
    origin: CodesOrigin | None = None

    def __post_init__(self) -> None:
        num_levels = check_num_levels(self.num_levels, self.name)
        checked: dict[str, object] = {"num_levels": num_levels}
        for split in ("train", "test"):
            x, y = f"x_{split}", f"y_{split}"
            values = as_values(getattr(self, x), f"{x} of {self.name}")
            if not self.are_codes:
                check_channels_last(values, f"{x} of {self.name}")
            checked[x] = fit_levels(values, num_levels, f"{x} of {self.name}")
            as_condition = as_coarser if self.are_finer else as_labels
            checked[y] = as_condition(getattr(self, y), len(values), f"{y} of {self.name}")
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        self._check_grids()
        self._check_class_names()

    @property
    def grid_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def are_finer(self) -> bool:
        """Whether they are codes that coarser ones come before."""
        return self.origin is not None and self.origin.grid > 0

    @property
    def num_classes(self) -> int | None:
        """The number of classes: as many as are named, else as the labels reach; None without labels."""
        if self.are_finer:
            return None
        if self.class_names is not None:
            return len(self.class_names)
        tops = [int(labels.max()) for labels in (self.y_train, self.y_test) if labels is not None]
        return max(tops) + 1 if tops else None

    def with_levels(self, num_levels: int) -> "Images":
        """The same images with another number of levels.

        Fewer levels L than the S there are quantize: v becomes floor(v · L / S). More leave the values as
        they are, with levels that none of them has.

        Raises:
            ValueError: for codes, which have no order, and for what is no number of levels.
        """
        num_levels = check_num_levels(num_levels, self.name)
        if num_levels == self.num_levels:
            return self
        if self.are_codes:
            raise ValueError(
                f"{self.name} holds codes of {self.num_levels} kinds; leave num_levels={num_levels} out."
            )
        if num_levels > self.num_levels:
            return dataclasses.replace(self, num_levels=num_levels)
        return dataclasses.replace(
            self,
            x_train=quantized(self.x_train, self.num_levels, num_levels),
            x_test=quantized(self.x_test, self.num_levels, num_levels),
            num_levels=num_levels,
        )

    def pipeline(
        self,
        split: Literal["train", "test"],
        batch_size: int,
        *,
        shuffle: bool | None = None,
        seed: int = 0,
        conditional: bool = False,
        flip: bool = False,
        crop: int | tuple[int, int] | None = None,
        resized_crop: tuple[float, float] | None = None,
        drop_remainder: bool = False,
        condition_map: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> "tf.data.Dataset":
        """Batches of values (B, H, W, C), or of {"values": (B, H, W, C), "condition": (B,)} if `conditional`.

        `condition_map` makes the condition of a batch of what stands for the labels. Each epoch holds every
        example once; the last batch may be smaller unless `drop_remainder`. `shuffle` (by default on the
        train split only) draws a new order each epoch, `flip` mirrors half of the images left to right, and
        `crop` takes a part of this size of each image: anywhere where they are shuffled, else about the
        centre. `resized_crop=(0.2, 1.0)` takes a part of such a share of each image's area, of an aspect from
        3/4 to 4/3, anywhere, and resizes it to the size of `crop`, or of the image. All follow `seed`.

        Raises:
            ValueError: for an unknown split, a batch size below 1, a crop that is larger than the images,
                shares that are none, crops of codes, or `conditional` without labels.
        """
        shuffle = split == "train" if shuffle is None else shuffle
        change = self._augmentation(flip, crop, resized_crop, anywhere=shuffle)
        return self._batches(
            split, batch_size, shuffle, seed, conditional, change, drop_remainder, condition_map
        ).of_one_epoch

    def resumable(
        self,
        batch_size: int,
        *,
        seed: int = 0,
        conditional: bool = False,
        flip: bool = False,
        crop: int | tuple[int, int] | None = None,
        resized_crop: tuple[float, float] | None = None,
        drop_remainder: bool = False,
        condition_map: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> ResumableDataset:
        """The batches of `pipeline("train", …)`, shuffled, of all epochs from any step on.

        Raises:
            ValueError: as `pipeline`.
        """
        change = self._augmentation(flip, crop, resized_crop, anywhere=True)
        batches = self._batches(
            "train", batch_size, True, seed, conditional, change, drop_remainder, condition_map
        )
        labels = [self.y_train] if conditional and self.y_train is not None else []
        how = (batch_size, flip, drop_remainder, *(each for each in (crop, resized_crop) if each is not None))
        return batches.of_all.told_apart([self.x_train, *labels], *how)

    def _batches(
        self,
        split: str,
        batch_size: int,
        shuffle: bool,
        seed: int,
        conditional: bool,
        augment: "Augmentation",
        drop_remainder: bool,
        condition_map: Callable[[np.ndarray], np.ndarray] | None,
    ) -> "Batches":
        from .pipeline import batches, mapped

        if split not in ("train", "test"):
            raise ValueError(f"split={split!r} is unknown; expected one of 'train', 'test'.")
        values = self.x_train if split == "train" else self.x_test
        labels = self.y_train if split == "train" else self.y_test
        if conditional and labels is None:
            raise ValueError(
                f"{self.name} has no labels for its {split} split; expected y_{split}: add the labels or "
                "pass conditional=False."
            )

        condition_of = mapped(condition_map, labels) if conditional and condition_map else None

        def change(batch: Any, seed: Any) -> Any:
            batch = batch if conditional else {"values": batch}
            batch["values"] = augment(batch["values"], seed)
            if condition_of is not None:
                batch["condition"] = condition_of(batch["condition"])
            return batch if conditional else batch["values"]

        examples = {"values": values, "condition": labels} if conditional else values
        return batches(
            examples,
            batch_size,
            shuffle=shuffle,
            seed=seed,
            drop_remainder=drop_remainder,
            change=change,
        )

    def _augmentation(
        self,
        flip: bool,
        crop: int | tuple[int, int] | None,
        resized_crop: tuple[float, float] | None,
        anywhere: bool,
    ) -> "Augmentation":
        from .augmentation import Augmentation, check_scale

        if resized_crop is not None and self.are_codes:
            raise ValueError(
                f"resized_crop={resized_crop!r} of {self.name}, which holds codes; leave it out."
            )
        return Augmentation(
            size=None if crop is None else self._checked_crop(crop),
            scale=None if resized_crop is None else check_scale(resized_crop),
            flip=flip,
            anywhere=anywhere,
            num_levels=self.num_levels,
        )

    def _checked_crop(self, crop: Any) -> tuple[int, int]:
        size = check_image_size(crop, "crop")
        height, width, _ = self.grid_shape
        if size[0] > height or size[1] > width or self.are_codes:
            kind = "codes" if self.are_codes else "images"
            raise ValueError(
                f"crop={crop!r} of {self.name}, which has {kind} of {height}×{width} (height×width); "
                "expected a part of images, at most as large: leave it out."
            )
        return size

    def _check_grids(self) -> None:
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"{self.name} has train images of shape {self.x_train.shape[1:]} and test images of shape "
                f"{self.x_test.shape[1:]}; expected one (H, W, C): bring both splits to the same size."
            )

    def _check_class_names(self) -> None:
        if self.class_names is None:
            return
        for field in ("y_train", "y_test"):
            labels = getattr(self, field)
            if labels is not None and labels.max() >= len(self.class_names):
                raise ValueError(
                    f"{field} of {self.name} reaches up to {labels.max()}; expected indices of the "
                    f"{len(self.class_names)} class names: name every class."
                )
