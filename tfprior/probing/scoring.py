"""Classifiers over labelled images: what they are measured on, and by.

Shapes: N images · H W C image · D features · K classes.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from tfprior.compilation import in_batches
from tfprior.data import Images
from tfprior.encoders import Classifier, Encoder
from tfprior.layers import ImageScaling

AT_ONCE = 4096
Pooling = Literal["class_token", "mean"]


class Probed(NamedTuple):
    """A trained classifier.

    Attributes:
        classifier: around the encoder that was given.
        accuracy: share of the test images whose class has the highest logit.
        train_accuracy: likewise of the training images.
    """

    classifier: Classifier
    accuracy: float
    train_accuracy: float


def classifier_of(
    encoder: Encoder, images: Images, scaling: ImageScaling | None, pooling: Pooling
) -> Classifier:
    """An untrained classifier of these images.

    Raises:
        ValueError: for images without labels of several classes in both parts, codes, images of another shape
            than the encoder was built for, and the class token of an encoder that has none.
    """
    if images.are_codes:
        raise ValueError(f"{images.name} holds codes; expected images, for an encoder to see.")
    if images.y_train is None or images.y_test is None or images.num_classes is None:
        part = "train" if images.y_train is None else "test"
        raise ValueError(
            f"{images.name} has no labels for its {part} split; expected the class of every image: add "
            f"y_{part}, or choose labelled data."
        )
    if len(np.unique(images.y_train)) < 2:
        raise ValueError(
            f"{images.name} has training images of one class alone; expected several, to tell apart."
        )
    encoder.check_shape((None, *images.grid_shape))
    return Classifier(encoder, images.num_classes, pooling, scaling)


def features_of(
    classifier: Classifier, values: Any, num_levels: int = 256, batch_size: int = 256
) -> np.ndarray:
    """Levels (N, H, W, C) in [0, num_levels) → pooled features (N, D), of which the head makes logits."""
    return _in_parts(_features, classifier, values, num_levels, batch_size)


def accuracy_of(
    classifier: Classifier, values: Any, labels: np.ndarray, num_levels: int = 256, batch_size: int = 256
) -> float:
    """The share of images (N, H, W, C) with levels in [0, num_levels) whose class has the highest logit."""
    logits = _in_parts(_logits, classifier, values, num_levels, batch_size)
    return share_right(logits, labels)


def share_right(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(np.mean(logits.argmax(axis=-1) == labels))


def as_pixels(values: Any, num_levels: int) -> Any:
    """Levels as `ImageScaling` takes them: 256 as they are, others as floats in [0, 1]."""
    return values if num_levels == 256 else values.astype("float32") / np.float32(num_levels - 1)


def _in_parts(
    function: Any, classifier: Classifier, values: Any, num_levels: int, batch_size: int
) -> np.ndarray:
    """Images may stay in their files: some are read at a time."""
    parts = (values[start : start + AT_ONCE] for start in range(0, len(values), AT_ONCE))
    size = min(batch_size, len(values))  # of all parts, so that one graph serves them
    made = [in_batches(function, classifier, [as_pixels(part, num_levels)], size) for part in parts]
    return np.concatenate(made)


def _features(classifier: Classifier, images: Any) -> Any:
    scaled = images if classifier.scaling is None else classifier.scaling(images)
    return classifier.pooled(classifier.encoder(scaled, training=False))


def _logits(classifier: Classifier, images: Any) -> Any:
    return classifier(images, training=False)
