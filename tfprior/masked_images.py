"""Masked image modelling on integer grids, as runs train it.

Shapes: B batch · N images · H W C image · U units of it, hidden or visible as a whole.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior.distributions import Categorical
from tfprior.grid_model import GridModel
from tfprior.inputs import as_array, check_values
from tfprior.mean_of_sums import MeanOfSums
from tfprior.once_a_step import once_a_step
from tfprior.pretraining.greenmim import DrawMasks
from tfprior.pretraining.pixels import completed
from tfprior.score import Score

UNITS = {"hidden_mse": "square error", "hidden_mae": "absolute error"}


@keras.saving.register_keras_serializable("tfprior")
class MaskedImages(GridModel):
    """A model of `tfprior.pretraining` that learns levels (B, H, W, C), scored by its error of hidden pixels.

        levels ── / highest ── pixels in [0, 1] ── masked image model ── error of hidden pixels

    Args:
        model: an MAE, SimMIM or GreenMIM.
        num_levels: of the images.

    Attributes:
        encoder: that it trains.
        scaling: of the pixels, as the encoder sees them.
    """

    kind = "encoder"
    loss_unit = "loss"

    def __init__(self, model: Any, num_levels: int = 256, **kwargs: Any) -> None:
        super().__init__(**{"dtype": model.dtype_policy, **kwargs})
        self.model = model
        self.grid_shape = model.encoder.image_shape
        self.distribution = Categorical(num_levels)
        self.scores = (Score(model.error_name, UNITS.get(model.error_name, model.error_name)),)
        self._error = MeanOfSums(name=model.error_name)
        self.built = True

    @property
    def encoder(self) -> Any:
        return self.model.encoder

    @property
    def scaling(self) -> Any:
        return self.model.scaling

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.model(self.pixels(self.unpack(inputs)[0]), training=training)

    def pixels(self, values: Any) -> Any:
        """Levels → floats in [0, 1]."""
        return ops.cast(values, "float32") * np.float32(1 / (self.num_levels - 1))

    def _with_ours(self, callbacks: Any) -> Any:
        """Where all images of a batch share a mask, each step gets another."""
        made = super()._with_ours(callbacks)
        each = getattr(made, "callbacks", made)
        if self.model.shares_mask and not any(isinstance(one, DrawMasks) for one in each):
            drawing = DrawMasks()
            drawing.set_model(self)
            each.append(drawing)
        return made

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = self.mean_of(self._errors(x, y_pred), sample_weight) + sum(self.losses)
        return self.guarded(loss, x if y is None else y)

    def statistics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any, training: bool) -> dict[str, Any]:
        errors = self.sums_of(self._errors(x, y_pred), sample_weight)
        return {**super().statistics(x, y, y_pred, sample_weight, training), "error": errors}

    def track(self, statistics: dict[str, Any]) -> None:
        super().track(statistics)
        self._error.update_state(statistics["error"])

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Images (N, H, W, C) float32 in [0, 1] with their hidden parts predicted, as `reconstruct` has them.

        Hidden is what evaluation hides.

        Raises:
            ValueError: for images of the wrong shape, type or range.
        """
        return super().predict(x, *args, **kwargs)

    def predictions(self, outputs: Any, inputs: Any) -> Any:
        refused = ops.reshape(self.refusals(inputs)[0], (-1, 1, 1, 1))
        values = self.unpack(inputs)[0]
        return ops.where(refused, np.inf, self.model.predictions(outputs, self.pixels(values)))

    @property
    def adds_up_inside(self) -> bool:
        return bool(self.model.adds_up_inside)

    def noise_of_batch(self) -> list[Any]:
        return list(self.model.noise_of_batch())

    @once_a_step
    def _errors(self, inputs: Any, predicted: Any) -> Any:
        return self.model.errors(self.pixels(self.unpack(inputs)[0]), predicted)

    def reconstruct(self, values: Any, noise: Any = None) -> Any:
        """Levels (N, H, W, C) with hidden parts predicted: the `Reconstruction` of the model, in [0, 1].

        Raises:
            ValueError: for images or noise of the wrong shape, type or range.
        """
        values = as_array(values)
        self.check_inputs(values)
        return self.model.reconstruct(ops.convert_to_numpy(self.pixels(values)), noise)

    def check_inputs(self, values: Any, condition: Any = None) -> None:
        check_values(values, self.grid_shape, self.num_levels, "images")
        if condition is not None:
            raise ValueError("An encoder learns without labels; pass the images alone.")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "num_levels": self.num_levels,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MaskedImages":
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        return cls(**{**config, "model": model})


def reconstructed_batch(model: Any, images: Any, noise: Any) -> tuple[Any, Any]:
    """Pixels in [0, 1] (B, H, W, C) and noise (B, U) → what is visible, and that with the rest predicted.

    As `reconstruct` of a model of `tfprior.pretraining`, for graphs.
    """
    predicted = model.predict_by_noise(images, noise)
    visible, whole, _ = completed(model, images, model.scaling(images), predicted)
    return visible, whole
