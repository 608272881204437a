"""Classification of integer grids, as runs train it.

Shapes: B batch · N images · H W C image · K classes.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.condition_kind import ConditionKind
from tfprior.distributions import Categorical
from tfprior.grid_model import GridModel
from tfprior.inputs import check_condition, check_values, is_number
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.score import Score


@keras.saving.register_keras_serializable("tfprior")
class LabelledImages(GridModel):
    """A `Classifier` that learns the labels (B,) of levels (B, H, W, C), scored by its accuracy.

        levels ── / highest ── pixels in [0, 1] ── classifier ── logits; the loss is their cross-entropy

    `fit(images, labels)`, or a dict of both as "values" and "condition".

    Args:
        classifier: of pixels in [0, 1], which its `scaling` scales.
        num_levels: of the images.
        label_smoothing: share of the probability that targets give to all classes alike.

    Attributes:
        encoder: of the classifier.
        scaling: of the pixels, as the encoder sees them.

    Raises:
        ValueError: for a share that does not lie in [0, 1).
    """

    kind = "classifier"
    scores = (Score("accuracy", "accuracy", "max"),)
    loss_unit = "nats"

    def __init__(
        self, classifier: Any, num_levels: int = 256, label_smoothing: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": classifier.dtype_policy, **kwargs})
        if not is_number(label_smoothing) or not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing!r}; expected a share from 0 to below 1.")
        self.classifier = classifier
        self.label_smoothing = label_smoothing
        self.grid_shape = classifier.encoder.image_shape
        self.distribution = Categorical(num_levels)
        self.num_classes = classifier.num_classes
        self.condition_kind = ConditionKind.of(self.num_classes, None)
        self._accuracy = MeanOfSums(name="accuracy")
        self.built = True

    @property
    def encoder(self) -> Any:
        return self.classifier.encoder

    @property
    def scaling(self) -> Any:
        return self.classifier.scaling

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Images (B, H, W, C), with labels or without → logits (B, K)."""
        pixels = ops.cast(self.unpack(inputs)[0], "float32") * np.float32(1 / (self.num_levels - 1))
        return self.classifier(pixels, training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = self.mean_of(self._nats(x, y_pred), sample_weight) + sum(self.losses)
        return self.guarded(loss, x if y is None else y)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        right = ops.cast(ops.argmax(y_pred, axis=-1), "int32") == self._labels(x)
        nats = self._nats(x, y_pred)
        right = ops.where(ops.isfinite(nats), ops.cast(right, "float32"), np.nan)  # diverged: none is right
        refused = super().statistics(x, y, y_pred, sample_weight, training)
        return {**refused, "right": self.sums_of(right, sample_weight)}

    def track(self, statistics: dict[str, Any]) -> None:
        super().track(statistics)
        self._accuracy.update_state(statistics["right"])

    @once_a_step
    def _nats(self, inputs: Any, logits: Any) -> Any:
        """Cross-entropy of each image's label: (B,)."""
        log_probs = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        target = ops.one_hot(self._labels(inputs), log_probs.shape[-1])
        right, any_class = ops.sum(target * log_probs, axis=-1), ops.mean(log_probs, axis=-1)
        return -(1 - self.label_smoothing) * right - self.label_smoothing * any_class

    def _labels(self, inputs: Any) -> Any:
        labels = self.unpack(inputs)[1]
        if labels is None:
            raise ValueError("Got images without labels; expected the class of each: fit(images, labels).")
        return ops.cast(labels, "int32")

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Logits (N, K) of images (N, H, W, C), with labels or without.

        Raises:
            ValueError: for inputs of the wrong shape, type or range.
        """
        return super().predict(x, *args, **kwargs)

    def predictions(self, outputs: Any, inputs: Any) -> Any:
        refused = ops.logical_or(*self.refusals(inputs))
        return ops.where(refused[:, None], np.inf, ops.cast(outputs, "float32"))

    def check_inputs(self, values: Any, condition: Any = None) -> None:
        check_values(values, self.grid_shape, self.num_levels, "images")
        if condition is not None:
            check_condition(condition, self.condition_kind, values.shape[0])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "classifier": keras.saving.serialize_keras_object(self.classifier),
            "num_levels": self.num_levels,
            "label_smoothing": self.label_smoothing,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "LabelledImages":
        classifier = keras.saving.deserialize_keras_object(
            config["classifier"], custom_objects=custom_objects
        )
        return cls(**{**config, "classifier": classifier})
