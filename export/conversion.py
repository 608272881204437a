"""From TensorFlow's graphs to ONNX: tf2onnx, corrected and made quick while a conversion lasts."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx

from tfprior.export import converter_corrections, converter_speed
from tfprior.export.patching import in_force
from tfprior.export.ports import argument
from tfprior.export.signatures import Function

OPSET = 18
PATCHES = (*converter_corrections.PATCHES, *converter_speed.PATCHES)

# What a conversion changes, and the converter's own table of functions, belong to the whole process.
_one_at_a_time = threading.Lock()


class ConversionError(RuntimeError):
    """A graph that ONNX runtimes would refuse or compute differently."""


def convert(function: Function, graph: Any) -> onnx.ModelProto:
    """One function's graph as an ONNX model; several threads take turns.

    Raises:
        ConversionError: if the converter left an operator out, or is of a version not known here.
    """
    import tensorflow as tf
    import tf2onnx

    from tfprior.export.saved_model import tensor_spec

    _check_version(tf2onnx.__version__)
    signature = [tensor_spec(port, port.name) for port in function.inputs]
    names = [argument(port.name) for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        outputs = graph(**dict(zip(names, tensors, strict=True)))
        return {port.name: outputs[argument(port.name)] for port in function.outputs}

    with _one_at_a_time, _collected_complaints() as complaints, in_force(PATCHES):
        model, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=signature, autograph=False),
            input_signature=signature,
            opset=OPSET,
            custom_op_handlers={
                operator: (handler, []) for operator, handler in converter_corrections.HANDLERS.items()
            },
        )
    if complaints:
        raise ConversionError(f"tf2onnx could not convert {function.name!r}: {'; '.join(complaints)}")
    return model


def _check_version(installed: str) -> None:
    for patch in PATCHES:
        if installed.split(".")[:2] != patch.version.split("."):
            raise ConversionError(
                f"tf2onnx {installed} is installed and its faults are known here for {patch.version} only: "
                f"pip install 'tf2onnx~={patch.version}.0', or try every patch of export/converter_*.py anew."
            )


@contextmanager
def _collected_complaints() -> Iterator[list[str]]:
    """tf2onnx logs an operator it cannot convert and carries on: its errors are collected here."""
    complaints: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            complaints.append(record.getMessage())

    logger, collector = logging.getLogger("tf2onnx"), Collector(logging.ERROR)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.ERROR)
    logger.propagate = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield complaints
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate
