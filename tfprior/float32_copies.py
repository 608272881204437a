"""Models that compute in half precision, as models that compute in float32.

A mixed policy keeps weights in float32 and computes in 16 bits, where a step and the whole image round
differently: what is one function in float32 is not one there. So whatever draws, measures, compresses or
exports goes through a copy in float32, which has the very same weights.
"""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import keras

HALF = ("bfloat16", "float16")
FLOAT32 = keras.DTypePolicy("float32")

Model = TypeVar("Model", bound=keras.Model)
_COPIES: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def in_float32(model: Model) -> Model:
    """The model, or where it computes in half precision its copy in float32, with the weights of now.

    The copy is kept, so that what was compiled for it serves again.
    """
    if all(layer.compute_dtype not in HALF for layer in model._flatten_layers()):
        return model
    if model not in _COPIES:
        with _policy(FLOAT32):  # of layers that are not told one
            _COPIES[model] = type(model).from_config(with_float32(model.get_config()))
    copy: Model = _COPIES[model]
    copy.set_weights(model.get_weights())
    return copy


def with_float32(config: Any) -> Any:
    """The config of a model, or a part of it, with float32 in place of every policy."""
    if isinstance(config, dict):
        if config.get("class_name") == "DTypePolicy":
            return keras.saving.serialize_keras_object(FLOAT32)
        return {name: with_float32(value) for name, value in config.items()}
    return type(config)(map(with_float32, config)) if type(config) in (list, tuple) else config


@contextmanager
def _policy(policy: keras.DTypePolicy) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
