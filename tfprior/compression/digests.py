"""Short digests by which a file knows its model, its condition and its images."""

import hashlib
import json
from typing import Any

import numpy as np

from tfprior.image_model import ImageModel

ARCHITECTURE, WEIGHTS, CONDITION, IMAGES = 4, 8, 4, 8
"""Bytes of each."""


def of_architecture(model: ImageModel) -> bytes:
    """The same for models of the same configuration, whatever they are called."""
    config = {"class": type(model).__name__, **_nameless(model.get_config())}
    return _first(ARCHITECTURE, json.dumps(config, sort_keys=True).encode())


def of_weights(model: ImageModel) -> bytes:
    return _first(WEIGHTS, *(part.weights_digest().encode() for part in model.parts()))


def of_condition(condition: np.ndarray | None) -> bytes:
    """Of vectors or maps in float32; zeros without."""
    return bytes(CONDITION) if condition is None else _first(CONDITION, _bytes(condition, "<f4"))


def of_images(images: np.ndarray, labels: np.ndarray | None) -> bytes:
    return _first(IMAGES, *(_bytes(part, "<i4") for part in (images, labels) if part is not None))


def _nameless(config: Any) -> Any:
    """Without the names that Keras gives layers and models, counting, and what is to be trained."""
    if isinstance(config, dict):
        is_layer = "name" in config and "trainable" in config
        left_out = ("name", "trainable") if is_layer else ()
        return {key: _nameless(value) for key, value in config.items() if key not in left_out}
    return [_nameless(part) for part in config] if isinstance(config, list | tuple) else config


def _first(size: int, *parts: bytes) -> bytes:
    sha = hashlib.sha256()
    for part in parts:
        sha.update(part)
    return sha.digest()[:size]


def _bytes(array: np.ndarray, dtype: str) -> bytes:
    return bytes(np.ascontiguousarray(array, dtype).tobytes())
