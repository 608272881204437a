"""Functions as ONNX graphs, checked before anyone sees them."""

from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from tfprior.export.conversion import OPSET, ConversionError, convert
from tfprior.export.functions import Function

__all__ = ["OPSET", "ConversionError", "write_onnx"]


def write_onnx(function: Function, graph: Any, path: Path, metadata: dict[str, str]) -> None:
    """Converts one function's graph, checks it and writes it.

    Raises:
        ConversionError: if the converter left an operator out, or the graph does not pass the full check,
            lacks a named input or output, draws random numbers, or does not load in ONNX Runtime.
    """
    model = convert(function, graph)
    _tidy(model, function)
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    _check(model, function)
    onnx.save(model, str(path))
    try:
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionError(
            f"ONNX Runtime does not load the graph of {function.name!r}: {error}"
        ) from error


def _tidy(model: onnx.ModelProto, function: Function) -> None:
    """Names the batch, and puts the outputs in the declared order."""
    outputs = {value.name: value for value in model.graph.output}
    ordered = [outputs.pop(port.name) for port in function.outputs if port.name in outputs]
    ordered += outputs.values()
    del model.graph.output[:]
    model.graph.output.extend(ordered)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _check(model: onnx.ModelProto, function: Function) -> None:
    onnx.checker.check_model(model, full_check=True)
    domains = {opset.domain for opset in model.opset_import} - {"", "ai.onnx.ml"}
    if domains:
        raise ConversionError(f"The graph of {function.name!r} uses operators of the domains {domains}.")
    for kind, found, ports in (
        ("inputs", model.graph.input, function.inputs),
        ("outputs", model.graph.output, function.outputs),
    ):
        names, expected = {value.name for value in found}, {port.name for port in ports}
        if names != expected:
            raise ConversionError(
                f"The graph of {function.name!r} has {kind} {sorted(names)}; expected {sorted(expected)}."
            )
    random = sorted(op for op in _operators(model.graph) if op.startswith(("Random", "Multinomial")))
    if random:
        raise ConversionError(f"The graph of {function.name!r} draws random numbers: {random}.")


def _operators(graph: onnx.GraphProto) -> set[str]:
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _operators(attribute.g)
    return found
