"""The functions that a bundle holds of an encoder: features of images, and their classes.

Shapes: B batch · H W C image · F features of D numbers each, those of class tokens first · K classes.
"""

from typing import Any, TypeAlias

import numpy as np
from keras import ops

from tfprior.compilation import in_batches
from tfprior.encoders import Classifier, Encoder
from tfprior.export.encoder_description import (
    CLASSIFY,
    FEATURES,
    HIGHEST_LEVEL,
    PIXELS,
    SCALED,
    EncoderDescription,
    GoldenFeatures,
    as_pixels,
)
from tfprior.export.signatures import Function, Port, Tensors
from tfprior.float32_copies import with_float32
from tfprior.masked_images import MaskedImages

SAMPLES = 2
AroundEncoder: TypeAlias = Encoder | Classifier | MaskedImages


def encoder_functions(model: AroundEncoder) -> list[Function]:
    """Every function of the bundle of an encoder, or of a classifier around one."""
    encoder = encoder_of(model)
    _, num_features, feature_dim = encoder.compute_output_shape((None, *encoder.image_shape))
    images = Port("images", "float32", encoder.image_shape, takes(model))
    meaning = "of the map in raster order"
    if encoder.num_class_tokens:
        meaning = f"that of the class token, then {meaning.removeprefix('of ')}"
    features = Port("features", "float32", (num_features, feature_dim), meaning)

    def encode(tensors: Tensors) -> Tensors:
        return {"features": _features(model, tensors["images"])}

    made = [Function(FEATURES, encode, (images,), (features,))]
    if isinstance(model, Classifier):
        logits = Port("logits", "float32", (model.num_classes,), "of the classes")
        made.append(
            Function(CLASSIFY, lambda t: {"logits": _logits(model, t["images"])}, (images,), (logits,))
        )
    return made


def describe_encoder(model: AroundEncoder) -> EncoderDescription:
    """The manifest's words for it, with what it makes of noise."""
    encoder = encoder_of(model)
    shape = (SAMPLES, *encoder.image_shape)
    levels = np.random.default_rng(0).integers(0, HIGHEST_LEVEL + 1, shape, "int32")
    images = as_pixels(levels)
    features = in_batches(_features, model, [images], SAMPLES)
    logits = in_batches(_logits, model, [images], SAMPLES) if isinstance(model, Classifier) else None
    return EncoderDescription(
        image_shape=encoder.image_shape,
        input=takes(model),
        num_features=features.shape[1],
        feature_dim=features.shape[2],
        num_classes=None if logits is None else logits.shape[1],
        golden=GoldenFeatures(levels, _short(features), None if logits is None else _short(logits)),
    )


def encoder_of(model: AroundEncoder) -> Encoder:
    return model if isinstance(model, Encoder) else model.encoder


def float32_encoder(model: AroundEncoder) -> AroundEncoder:
    """The model, or where it computes in half precision one in float32 with its weights."""
    if all(layer.compute_dtype == "float32" for layer in model._flatten_layers()):
        return model
    copy: AroundEncoder = type(model).from_config(with_float32(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


def takes(model: AroundEncoder) -> Any:
    """What its images are."""
    return SCALED if isinstance(model, Encoder) or model.scaling is None else PIXELS


def _features(model: Any, images: Any) -> Any:
    if isinstance(model, Encoder):
        return model(images, training=False)
    return model.encoder(images if model.scaling is None else model.scaling(images), training=False)


def _logits(model: Any, images: Any) -> Any:
    return model(ops.convert_to_tensor(images), training=False)


def _short(numbers: np.ndarray) -> np.ndarray:
    return np.round(numbers.astype("float64"), 6)
