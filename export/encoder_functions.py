"""The functions that a bundle holds of an encoder: features of images, classes, and reconstructions.

Shapes: B batch · H W C image · F features of D numbers each, those of class tokens first · K classes · U
units that are hidden or visible as a whole.
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
    RECONSTRUCT,
    SCALED,
    EncoderDescription,
    GoldenFeatures,
    as_pixels,
)
from tfprior.export.signatures import Function, Port, Tensors
from tfprior.masked_images import MaskedImages, reconstructed_batch
from tfprior.pretraining import MaskedImageModel

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
    if (masked := masked_model(model)) is not None:
        noise = Port("noise", "float32", (masked.num_units,), "the lowest are visible")
        hidden = Port("masked", "float32", encoder.image_shape, "what is visible, the rest as the mean")
        whole = Port("reconstruction", "float32", encoder.image_shape, "the rest as it is predicted")
        made.append(
            Function(
                RECONSTRUCT,
                lambda t: _reconstructed(masked, t["images"], t["noise"]),
                (images, noise),
                (hidden, whole),
            )
        )
    return made


def masked_model(model: AroundEncoder) -> Any:
    """The model that predicts hidden pixels, if there is one."""
    inner = model.model if isinstance(model, MaskedImages) else model
    return inner if isinstance(inner, MaskedImageModel) else None


def is_around_encoder(model: Any) -> bool:
    """Whether it is an encoder, or a model with one and the scaling of its images."""
    return isinstance(getattr(model, "encoder", model), Encoder)


def describe_encoder(model: AroundEncoder, class_names: tuple[str, ...] | None = None) -> EncoderDescription:
    """The manifest's words for it, with what it makes of noise."""
    encoder = encoder_of(model)
    shape = (SAMPLES, *encoder.image_shape)
    levels = np.random.default_rng(0).integers(0, HIGHEST_LEVEL + 1, shape, "int32")
    images = as_pixels(levels)
    features = in_batches(_features, model, [images], SAMPLES)
    logits = in_batches(_logits, model, [images], SAMPLES) if isinstance(model, Classifier) else None
    noise = made = None
    if (masked := masked_model(model)) is not None:
        order = np.random.default_rng(0).permuted(np.tile(np.arange(masked.num_units), (SAMPLES, 1)), axis=1)
        noise = _short(order / masked.num_units)
        made = _short(in_batches(_reconstructed, masked, [images, noise], SAMPLES)["reconstruction"])
    return EncoderDescription(
        image_shape=encoder.image_shape,
        input=takes(model),
        num_features=features.shape[1],
        feature_dim=features.shape[2],
        num_classes=None if logits is None else logits.shape[1],
        num_units=None if noise is None else noise.shape[1],
        golden=GoldenFeatures(
            levels, _short(features), None if logits is None else _short(logits), noise, made
        ),
        class_names=class_names,
    )


def encoder_of(model: AroundEncoder) -> Encoder:
    return model if isinstance(model, Encoder) else model.encoder


def takes(model: AroundEncoder) -> Any:
    """What its images are."""
    return SCALED if isinstance(model, Encoder) or model.scaling is None else PIXELS


def _features(model: Any, images: Any) -> Any:
    if isinstance(model, Encoder):
        return model(images, training=False)
    return model.encoder(images if model.scaling is None else model.scaling(images), training=False)


def _reconstructed(masked: Any, images: Any, noise: Any) -> Tensors:
    visible, whole = reconstructed_batch(masked, images, noise)
    return {"masked": visible, "reconstruction": whole}


def _logits(model: Any, images: Any) -> Any:
    return model(ops.convert_to_tensor(images), training=False)


def _short(numbers: np.ndarray) -> np.ndarray:
    return np.round(numbers.astype("float64"), 6)
