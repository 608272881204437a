"""Functions as ONNX graphs, checked before anyone sees them."""

from collections.abc import Iterator
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
    """Names the batch, puts the outputs in the declared order, and renames all but inputs and outputs."""
    outputs = {value.name: value for value in model.graph.output}
    ordered = [outputs.pop(port.name) for port in function.outputs if port.name in outputs]
    ordered += outputs.values()
    del model.graph.output[:]
    model.graph.output.extend(ordered)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _shorten(model.graph)


def _shorten(graph: onnx.GraphProto) -> None:
    """Calls all that is inside v1, v2, …

    The converter's names tell of every branch and loop that a value is in, and would be most of the file.
    """
    short = {"": ""} | {value.name: value.name for value in (*graph.input, *graph.output)}
    for part in _graphs(graph):
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = short.setdefault(value.name, f"v{len(short)}")
        for node in part.node:
            node.name = ""
            for names in (node.input, node.output):
                names[:] = [short.setdefault(name, f"v{len(short)}") for name in names]
    for index, part in enumerate(_graphs(graph)):
        part.name, part.doc_string = f"graph_{index}", ""


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
    return {node.op_type for part in _graphs(graph) for node in part.node}


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, then its branches and loop bodies, and theirs."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)
