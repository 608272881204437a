"""What makes images: a prior over pixels, or a generator through codes.

Shapes: N images · H W C grid.
"""

import abc
import math
from typing import Any, ClassVar, Protocol

import keras
import numpy as np

from tfprior.compilation import in_batches
from tfprior.condition_kind import ConditionKind
from tfprior.float32_copies import in_float32
from tfprior.inputs import GridShape, as_array

Tensor = Any


class ImageSampler(Protocol):
    """The half that draws: every `ImageModel`, and the samplers of exported bundles.

    Attributes:
        grid_shape: (H, W, C) of the images.
        num_levels: images are integers in [0, num_levels).
        num_classes: of the labels that are the condition; None without such.
    """

    @property
    def grid_shape(self) -> GridShape: ...

    @property
    def num_levels(self) -> int: ...

    @property
    def num_classes(self) -> int | None: ...

    def sample(self, num_samples: int, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws images (num_samples, H, W, C) int32."""
        ...

    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> dict[str, np.ndarray]:
        """What `sample` draws as "values", beside the "codes" that it was drawn through, if there are any."""
        ...

    def complete(self, images: Any, mask: Any, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws what is hidden, True in mask (H, W) or (N, H, W), of images (N, H, W, C)."""
        ...


class ImageModel(keras.Model, abc.ABC):
    """A model of integer images that draws them and tells how likely they are.

    It is a chain of priors, each given what those before it are of, and where these are of codes a tokenizer
    that makes images of them. The functions for one batch take tensors and give tensors, so that graphs and
    gradients may be built of them; the others take and give arrays of any number of images.

    Attributes:
        grid_shape: (H, W, C) of the images.
        num_levels: images are integers in [0, num_levels).
        num_dims: H · W · C.
        num_classes: of the labels that are the condition; None without such.
        condition_shape: (D,) of vectors or (H, W, D) of maps that are the condition; None without such.
        condition_kind: what the condition is, whichever it is; None without one.
        tokenizer: what its priors are over the codes of; None of pixels.
        sketching: options of `sample` to draw pictures soon by, where the usual way is exact and slow.
    """

    sketching: ClassVar[dict[str, Any]] = {}
    grid_shape: GridShape
    num_classes: int | None = None
    condition_shape: tuple[int, ...] | None = None
    condition_kind: ConditionKind | None = None

    @property
    @abc.abstractmethod
    def num_levels(self) -> int: ...

    @abc.abstractmethod
    def chain(self) -> list[Any]:
        """Its priors, coarse to fine; of a prior over pixels, itself."""

    def parts(self) -> list[Any]:
        """All that has weights."""
        return [*self.chain(), *([] if self.tokenizer is None else [self.tokenizer])]

    @property
    def num_dims(self) -> int:
        return math.prod(self.grid_shape)

    @abc.abstractmethod
    def check_inputs(self, values: Any, condition: Any = None) -> None:
        """Raises ValueError for images or a condition of the wrong shape, type or range."""

    @abc.abstractmethod
    def grids_of(self, images: Any) -> list[Any]:
        """Images (N, H, W, C) as what each of the priors is over, coarse to fine."""

    @abc.abstractmethod
    def condition_of(self, coarser: list[Tensor], condition: Tensor | None) -> Tensor | None:
        """The condition of the prior that comes after these grids: `condition` itself for the first one."""

    # Drawing

    def sample(self, num_samples: int, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws images (num_samples, H, W, C) int32, by the options of `tfprior.sampling.sample`.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """
        return self.sample_parts(num_samples, condition, **options)["values"]

    @abc.abstractmethod
    def sample_parts(self, num_samples: int, condition: Any = None, **options: Any) -> dict[str, np.ndarray]:
        """What `sample` draws as "values", beside the "codes" that it was drawn through, if there are any."""

    @abc.abstractmethod
    def complete(self, images: Any, mask: Any, condition: Any = None, **options: Any) -> np.ndarray:
        """Draws what is hidden of images (N, H, W, C): mask (H, W) or (N, H, W), True where hidden.

        Raises:
            ValueError: for arguments of the wrong shape, type or range.
        """

    # Likelihood

    @abc.abstractmethod
    def pixel_log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log-likelihood of each pixel of one batch in nats: (B, H, W, C) → (B, H, W)."""

    @abc.abstractmethod
    def log_prob_batch(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Log-likelihood of one batch in nats: (B, H, W, C) → (B,)."""

    def pixel_log_prob(self, images: Any, condition: Any = None, batch_size: int = 64) -> np.ndarray:
        """What each pixel has of `log_prob`, in nats: (N, H, W, C) → (N, H, W).

        Raises:
            ValueError: for images or a condition of the wrong shape, type or range.
        """
        return in_batches(_pixel_log_prob, in_float32(self), self._checked(images, condition), batch_size)

    def log_prob(self, images: Any, condition: Any = None, batch_size: int = 64) -> np.ndarray:
        """Log-likelihood in nats: (N, H, W, C) → (N,).

        It is exact of autoregressive priors, a lower bound of masked ones and of generators.

        Raises:
            ValueError: for images or a condition of the wrong shape, type or range.
        """
        return in_batches(_log_prob, in_float32(self), self._checked(images, condition), batch_size)

    def bits_per_dim(self, images: Any, condition: Any = None, batch_size: int = 64) -> np.ndarray:
        """−log2 p / (H · W · C): images (N, H, W, C) → (N,).

        Raises:
            ValueError: for images or a condition of the wrong shape, type or range.
        """
        return self.log_prob(images, condition, batch_size) / (-math.log(2) * self.num_dims)

    def _checked(self, images: Any, condition: Any) -> list[Any]:
        if images is None:
            raise ValueError("Got None as images; expected integers (N, H, W, C).")
        images, condition = as_array(images), as_array(condition)
        self.check_inputs(images, condition)
        return [images, condition]


def _pixel_log_prob(model: ImageModel, images: Tensor, condition: Tensor | None = None) -> Tensor:
    return model.pixel_log_prob_batch(images, condition)


def _log_prob(model: ImageModel, images: Tensor, condition: Tensor | None = None) -> Tensor:
    return model.log_prob_batch(images, condition)
