"""Requests that TensorFlow Serving replays when it loads a model, before the first user comes."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfprior.export.ports import argument
from tfprior.export.protobuf import length_delimited
from tfprior.export.signatures import Function, Port
from tfprior.export.tensor_protos import predict_request


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
    """PredictionLog { predict_log { request } }."""
    return length_delimited(6, length_delimited(1, predict_request("", signature, inputs)))
