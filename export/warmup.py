"""Requests that TensorFlow Serving replays when it loads a model, before the first user comes."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfprior.export.ports import argument
from tfprior.export.signatures import Function, Port


def write_warmup(functions: list[Function], saved_model: Path) -> None:
    """Writes one request of a batch of one for every function: a TFRecord of serialized PredictionLogs."""
    folder = saved_model / "assets.extra"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "tf_serving_warmup_requests")) as writer:
        for function in functions:
            inputs = {argument(port.name): _zeros(port) for port in function.inputs}
            if "temperature" in inputs:
                inputs["temperature"] += 1
            writer.write(prediction_log(function.name, inputs))


def _zeros(port: Port) -> np.ndarray:
    """One example: nothing past, one position known."""
    sizes = ({"past": 0, "known": 1}[size] if isinstance(size, str) else size for size in port.shape)
    return np.zeros((1, *sizes), port.dtype)


def prediction_log(signature: str, inputs: dict[str, Any]) -> bytes:
    """PredictionLog { predict_log { request { model_spec { signature_name } inputs { key value } } } }.

    Written field by field: TensorFlow Serving's message classes are a package of their own, and these are
    five numbers of a format that cannot change.
    """
    entries = [
        _field(2, _field(1, name.encode()) + _field(2, tf.make_tensor_proto(value).SerializeToString()))
        for name, value in inputs.items()
    ]
    request = _field(1, _field(3, signature.encode())) + b"".join(entries)
    return _field(6, _field(1, request))


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of the protocol buffers' wire format."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    digits.append(value)
    return bytes(digits)
