"""Classes from the features of an encoder, for linear probes and for fine-tuning.

Shapes: B batch · H W C image · P class tokens, 0 or 1 · N places of a map · D features · K classes.
"""

from typing import Any, Literal

import keras
from keras import ops

from tfprior.encoders.base import Encoder
from tfprior.encoders.weights_parts import Part, around, dense, norm
from tfprior.inputs import check_sizes
from tfprior.layers.image_scaling import ImageScaling


@keras.saving.register_keras_serializable("tfprior")
class Classifier(keras.Model):
    """Images (B, H, W, C) → logits (B, K).

        images ── scaling ── encoder ── class token, or mean of the map ── dense ── logits

    A linear probe sets `encoder.trainable = False` before `compile`: the encoder then computes as in
    inference, without dropout and stochastic depth. `tfprior.training.LayerDecayAdamW` fine-tunes.

    Args:
        encoder: of the images.
        num_classes: K.
        pooling: "class_token", "mean" over the map, or "mean_then_norm": the last norm of the encoder comes
            behind the mean, as `fc_norm` of ViTs that timm and MAE's authors have fine-tuned.
        scaling: of the images, as the encoder was trained; without it they come scaled.

    Raises:
        ValueError: for unknown pooling, and for the class token of an encoder that has none.
    """

    built: bool

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        pooling: Literal["class_token", "mean", "mean_then_norm"] = "mean",
        scaling: ImageScaling | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"dtype": encoder.dtype_policy, **kwargs})
        check_sizes("Classifier", num_classes=num_classes)
        if pooling not in ("class_token", "mean", "mean_then_norm"):
            raise ValueError(f"Unknown pooling {pooling!r}; expected class_token, mean or mean_then_norm.")
        if pooling == "class_token" and not encoder.num_class_tokens:
            raise ValueError(
                f"pooling='class_token' for a {type(encoder).__name__} without one; expected 'mean', or an "
                "encoder that has a class token."
            )
        self.encoder = encoder
        self.num_classes = num_classes
        self.pooling = pooling
        self.scaling = scaling
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.head = keras.layers.Dense(
            num_classes, kernel_initializer=small, name="head", dtype=self.dtype_policy
        )
        self.build()

    def build(self, input_shape: Any = None) -> None:
        if self.built:
            return
        self.head.build((None, self.encoder.num_features))
        self.built = True

    def call(self, images: Any, training: bool = False) -> Any:
        if self.scaling is not None:
            images = self.scaling(images)
        training = training and self.encoder.trainable
        if self.pooling != "mean_then_norm":
            return self.head(self.pooled(self.encoder(images, training=training)))
        pooled = self.pooled(self.encoder(images, training=training, normalized=False))
        return self.head(self.encoder.norm(pooled))

    def pooled(self, features: Any) -> Any:
        """(B, P + N, D) → (B, D)."""
        if self.pooling == "class_token":
            return features[:, 0]
        return ops.mean(features[:, self.encoder.num_class_tokens :], axis=1)

    def parts_around(self) -> list[Part]:
        """What others store beside the encoder's weights, for `load_safetensors`."""
        renamed = norm(self.encoder.norm, "fc_norm") if self.pooling == "mean_then_norm" else ()
        return around([*renamed, *dense([self.head], ["head"])])

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.encoder.compute_output_shape(input_shape)[0], self.num_classes

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "num_classes": self.num_classes,
            "pooling": self.pooling,
            "scaling": keras.saving.serialize_keras_object(self.scaling),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Classifier":
        parts = {
            name: keras.saving.deserialize_keras_object(config.get(name), custom_objects=custom_objects)
            for name in ("encoder", "scaling")
        }
        return cls(**{**config, **parts})
