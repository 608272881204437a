"""Keras's loops over images: `fit`, `evaluate` and `predict` of masked image models.

Shapes: B batch · N images · H W C image · s side of the patches that are predicted · M of these patches.
"""

from typing import Any, ClassVar

import keras
from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.feeding import Batch, are_arrays
from tfprior.layers.image_scaling import ImageScaling
from tfprior.layers.patches import images_of, patches_of
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.own_loss import OwnLossModel
from tfprior.pretraining.pixels import completed, normalized
from tfprior.replicas.share import rows_of_batch

Tensor = Any


class FittedOnImages(OwnLossModel):
    """The half of a `MaskedImageModel` that Keras's loops run; they call what the other half has."""

    error_name: ClassVar[str]
    shares_mask: ClassVar[bool] = False
    """Whether all images of a batch have the same mask."""
    encoder: Encoder
    scaling: ImageScaling
    unit_size: int
    stride: int
    num_units: int
    norm_pix: bool

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.noise = keras.random.SeedGenerator()
        self._error = MeanOfSums(name=self.error_name)

    @property
    def reported(self) -> str:
        return self.error_name

    def compile(self, optimizer: Any = "adamw", loss: Any = None, **kwargs: Any) -> None:
        """Keras `compile`, without a loss or metrics: the model has its own.

        Raises:
            ValueError: for a loss or metrics.
        """
        super().compile(optimizer, loss, **kwargs)

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Keras `fit` on images (N, H, W, C), or on a dataset of batches of them, with labels or without.

        Raises:
            ValueError: for images of the wrong shape or type, and for arrays of floats that are levels.
        """
        self._check_strategy()
        validation = kwargs.get("validation_data")
        for images in (x, validation[0] if isinstance(validation, tuple | list) else validation):
            self._check_arrays(images)
        # A dataset brings its own order; Keras warns otherwise.
        kwargs.setdefault("shuffle", are_arrays(x) or isinstance(x, keras.utils.PyDataset))
        if self.compiled:
            self._build_optimizer()
            self._set_replicas()
        return super().fit(x, *args, **kwargs)

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Keras `evaluate` on what `fit` takes, with the same masks each time.

        Raises:
            ValueError: for images of the wrong shape or type, and for arrays of floats that are levels.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # `fit` evaluates what it has checked
            self._check_strategy()
            self._check_arrays(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Images (N, H, W, C) float32 in [0, 1] with their hidden parts predicted, as `reconstruct` has them.

        Hidden is what evaluation hides.

        Raises:
            ValueError: for images of the wrong shape or type, and for arrays of floats that are levels.
        """
        self._check_strategy()
        self._check_arrays(x)
        return super().predict(x, *args, **kwargs)

    def _check_arrays(self, images: Any) -> None:
        if hasattr(images, "shape"):
            self.check_images(images)
            self.check_range(images)

    # What steps ask for

    def step_batch(self, data: Any) -> Batch:
        images, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        self.check_images(images)
        return Batch(images, None, sample_weight)

    def bounded_inputs(self, batch: Batch) -> Tensor:
        return batch.values

    @property
    def adds_up_inside(self) -> bool:
        return not self.shares_mask  # masks are drawn for the whole batch

    def noise_of_batch(self) -> list[Any]:
        """Seed generators of what is drawn for the batch as a whole, the same on every replica."""
        return [self.noise]

    def noise_for(self, count: Any, training: bool) -> Tensor:
        """Noise (B, U) of so many images: drawn in training, else the same each time."""
        seed = self.noise if training else 0
        return rows_of_batch(lambda rows: keras.random.uniform((rows, self.num_units), seed=seed), count)

    def predictions(self, outputs: Any, inputs: Tensor) -> Tensor:
        scaled = self.scaling(inputs)
        return completed(self, self.scaling.undone(scaled), scaled, outputs)[1]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        errors = self.errors(x, y_pred)
        if sample_weight is not None:
            errors = errors * ops.cast(sample_weight, errors.dtype)
        return ops.mean(errors) + sum(self.losses)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> Tensor:
        """The sum of the images' errors, each times its weight, and the sum of the weights: (2,)."""
        errors = self.errors(x, y_pred)
        weight = ops.ones_like(errors) if sample_weight is None else ops.cast(sample_weight, errors.dtype)
        return ops.stack([ops.sum(errors * weight), ops.sum(weight)])

    def track(self, statistics: Tensor) -> None:
        self._error.update_state(statistics)

    def follow(self, statistics: Tensor) -> None:
        """Nothing follows the statistics of training batches."""

    @once_a_step
    def errors(self, images: Tensor, predicted: Any) -> Tensor:
        """The mean error of the hidden pixels of each image: (B,)."""
        targets = self.targets(self.scaling(images))
        by_pixel = self.error(ops.cast(predicted.patches, "float32") - targets)
        if self.unit_size != self.stride:
            by_pixel = patches_of(images_of(by_pixel, self.stride, self.encoder.feature_size), self.unit_size)
        hidden = ops.cast(predicted.hidden, "float32")
        return ops.sum(ops.mean(by_pixel, axis=-1) * hidden, axis=-1) / ops.sum(hidden, axis=-1)

    def targets(self, images: Tensor) -> Tensor:
        """Scaled images → what is to be predicted (B, M, s · s · C)."""
        patches = patches_of(images, self.stride)
        return normalized(patches) if self.norm_pix else patches
