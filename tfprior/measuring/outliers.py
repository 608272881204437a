"""How unlike an image is to what a model was trained on.

Simple images have high likelihoods, of whatever kind they are: one colour all over is more likely than most
that a model has seen. The score of J. Serrà, D. Álvarez, V. Gómez, O. Slizovskaia, J. F. Núñez and J. Luque,
"Input complexity and out-of-distribution detection with likelihood-based generative models", ICLR 2020,
https://arxiv.org/abs/1909.11480, takes off how simple an image is:

    S(x) = −log2 p(x) − L(x), with L(x) the bits of the image as a file

which is the likelihood ratio of a compressor that knows no images, and the model.

Shapes: N images · H W C · K classes.
"""

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tfprior.image_files import bytes_alone, check_fits_files
from tfprior.inputs import as_array

if TYPE_CHECKING:
    from tfprior.image_model import ImageModel


class OutlierScores(NamedTuple):
    """Scores of N images, higher for what is less like the training images.

    Attributes:
        bits: −log2 p(x), what the model needs for an image (N,).
        complexity: bits of the image's smallest lossless file (N,).
        score: bits − complexity (N,).
    """

    bits: np.ndarray
    complexity: np.ndarray
    score: np.ndarray

    def per_dim(self, num_dims: int) -> "OutlierScores":
        """The same in bits per dimension, of images of H · W · C = `num_dims`."""
        return OutlierScores(*(part / num_dims for part in self))

    def rows(self, places: Iterable[int], labels: Iterable[int] | None) -> Iterator[list[Any]]:
        """The lines of a table of `COLUMNS`: of images at these places, with these labels if any."""
        named = [""] * len(self.score) if labels is None else labels
        for place, label, *numbers in zip(places, named, *self, strict=True):
            yield [place, label, *(f"{number:.8g}" for number in numbers)]


COLUMNS = ("index", "label", "bits_per_dim", "complexity", "score")
"""Of tables of scores that are `per_dim`."""


def outlier_scores(
    model: "ImageModel", images: Any, condition: Any = None, batch_size: int = 64
) -> OutlierScores:
    """Scores images (N, H, W, C) in bits, corrected for how complex they are.

    Args:
        model: a prior of images, or a generator, whose bound stands for the likelihood.
        images: integers of the model's grid.
        condition: what the images are given; without it, a model of classes is the mixture of them, see
            `log_likelihood`.
        batch_size: images at once.

    Raises:
        ValueError: for images or a condition of the wrong shape, type or range, and for what PNG and WebP do
            not hold: more than 256 levels, or other than 1 to 4 channels.
        ArithmeticError: where the model gives NaN.
    """
    images = as_array(images)
    check_fits_files(model.num_levels, model.grid_shape[-1])
    bits = -log_likelihood(model, images, condition, batch_size) / math.log(2)
    if np.isnan(bits).any():
        raise ArithmeticError("The likelihoods are NaN, so the training diverged; load a model from before.")
    complexity = file_bits(np.asarray(images), model.num_levels)
    return OutlierScores(bits, complexity, bits - complexity)


def log_likelihood(
    model: "ImageModel", images: Any, condition: Any = None, batch_size: int = 64
) -> np.ndarray:
    """log p(x) in nats, or a generator's bound: images (N, H, W, C) → (N,) float64.

    Without labels as `condition`, the images of a model of K classes may be of any of them, each as probable
    as any other: log p(x) = log Σ p(x | class) / K.

    Raises:
        ValueError: for images or a condition of the wrong shape, type or range.
    """
    images, condition = as_array(images), as_array(condition)
    if condition is not None or model.num_classes is None:
        return model.log_prob(images, condition, batch_size).astype("float64")
    of_classes = [
        model.log_prob(images, np.full(len(images), label, "int32"), batch_size).astype("float64")
        for label in range(model.num_classes)
    ]
    return np.logaddexp.reduce(of_classes) - math.log(model.num_classes)


def file_bits(images: np.ndarray, num_levels: int) -> np.ndarray:
    """Bits of each image (N, H, W, C) in its smallest file, PNG or lossless WebP → (N,) float64.

    Headers count: they are nearly as long for all images of one grid, and move their scores alike.

    Raises:
        ValueError: for more than 256 levels, or other than 1 to 4 channels.
    """
    return 8.0 * np.minimum.reduce(list(bytes_alone(images, num_levels).values()))


def auroc(own: np.ndarray, others: np.ndarray) -> float:
    """How well scores tell images of another kind from one's own: (N,), (M,) → the area under the ROC curve.

    It is the probability that one of `others` scores higher than one of `own`: 1 tells all apart, 0.5 is
    chance, and less is the wrong way round.
    """
    from sklearn.metrics import roc_auc_score

    is_other = np.arange(len(own) + len(others)) >= len(own)
    return float(roc_auc_score(is_other, np.concatenate([own, others])))
