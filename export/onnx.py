"""Functions as ONNX graphs, checked before anyone sees them."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx.checker
import onnx.shape_inference
import onnxruntime
from onnx import numpy_helper

from tfprior.export.conversion import OPSET, ConversionError, convert
from tfprior.export.graph_check import check_graph
from tfprior.export.loop_invariants import hoist_loop_invariants
from tfprior.export.manifest import BundleError
from tfprior.export.narrow_weights import WeightType, narrow
from tfprior.export.onnx_graphs import with_subgraphs
from tfprior.export.shared_weights import SharedWeights, lay_out
from tfprior.export.signatures import Function
from tfprior.export.trip_counts import add_trip_counts

LAYER = re.compile(r"(?!while|cond)[a-z]\w*")
"""A layer among the parts of a node's name, beside those of calls, loops and branches."""

__all__ = ["OPSET", "ConversionError", "write_onnx"]


def write_onnx(
    function: Function,
    graph: Any,
    path: Path,
    metadata: dict[str, str],
    weights: SharedWeights | None = None,
    weight_type: WeightType = "float32",
) -> None:
    """Converts one function's graph, checks it and writes it, its weights among those shared if any are.

    They are stored in `weight_type` where they are numbers of it.

    Raises:
        ConversionError: if the converter left an operator out, or the graph does not pass ONNX's full check
            or that of `check_graph`, lacks a named input or output, loops without an end that can be read,
            or does not load in ONNX Runtime.
    """
    model = convert(function, graph)
    hoist_loop_invariants(model.graph)
    endless = add_trip_counts(model.graph)
    if endless:
        raise ConversionError(
            f"How often the loop {endless[0]!r} of {function.name!r} runs cannot be read from its graph: "
            "count with ops.fori_loop up to a constant, or give ops.while_loop its maximum_iterations."
        )
    lay_out(model.graph)
    _tidy(model, function)
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    if weight_type != "float32":
        narrow(model.graph, weight_type)
    _check(model, function)
    if weights is not None:
        weights.take(model.graph)
    onnx.save(model, str(path))
    try:
        onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ConversionError(
            f"ONNX Runtime does not load the graph of {function.name!r}: {error}"
        ) from error


def _tidy(model: onnx.ModelProto, function: Function) -> None:
    """Names the batch, puts the outputs in the declared order, says what they mean, and renames all else."""
    opsets = [opset for opset in model.opset_import if opset.domain != "ai.onnx.ml"]  # which nothing uses
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    outputs = {value.name: value for value in model.graph.output}
    ordered = [outputs.pop(port.name) for port in function.outputs if port.name in outputs]
    ordered += outputs.values()
    del model.graph.output[:]
    model.graph.output.extend(ordered)
    ports = {port.name: port for port in (*function.inputs, *function.outputs)}
    for value in (*model.graph.input, *model.graph.output):
        if value.name in ports:
            port = ports[value.name]
            value.doc_string = port.meaning
            for size, name in zip(value.type.tensor_type.shape.dim, ("batch", *port.shape), strict=False):
                if isinstance(name, str):
                    size.dim_param = name
    for part in with_subgraphs(model.graph):
        for tensor in _tensors(part):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    _shorten(model.graph)
    model.graph.name = function.name


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The constants of a graph, in the graph or in its nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _shorten(graph: onnx.GraphProto) -> None:
    """Calls all that is inside v1, v2, …

    The converter's names tell of every branch and loop that a value is in, and would be most of the file.
    """
    short = {"": ""} | {value.name: value.name for value in (*graph.input, *graph.output)}
    sizes = {
        size.dim_param: size.dim_param
        for value in (*graph.input, *graph.output)
        for size in value.type.tensor_type.shape.dim
        if size.dim_param
    }
    named = len(sizes)
    numbers = itertools.count(1)
    for part in with_subgraphs(graph):
        for value in (*part.input, *part.output, *part.value_info, *part.initializer):
            value.name = short.setdefault(value.name, f"v{len(short)}")
            for size in [] if isinstance(value, onnx.TensorProto) else value.type.tensor_type.shape.dim:
                if size.dim_param:
                    size.dim_param = sizes.setdefault(size.dim_param, f"size_{len(sizes) - named}")
        for node in part.node:
            node.name = f"{_layer_of(node.name)}{node.op_type}_{next(numbers)}"
            for names in (node.input, node.output):
                names[:] = [short.setdefault(name, f"v{len(short)}") for name in names]
    for index, part in enumerate(with_subgraphs(graph)):
        part.name, part.doc_string = f"graph_{index}", ""


def _layer_of(name: str) -> str:
    """The layer that a node comes from, by which profiles and errors of runtimes name it, or nothing."""
    layers = (part for part in name.split("/")[:-1] if LAYER.fullmatch(part))
    return next((f"{layer}/" for layer in layers), "")


def _check(model: onnx.ModelProto, function: Function) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ConversionError(f"The graph of {function.name!r} is no valid ONNX: {error}") from error
    for kind, found, ports in (
        ("inputs", model.graph.input, function.inputs),
        ("outputs", model.graph.output, function.outputs),
    ):
        names, expected = {value.name for value in found}, {port.name for port in ports}
        if names != expected:
            raise ConversionError(
                f"The graph of {function.name!r} has {kind} {sorted(names)}; expected {sorted(expected)}."
            )
    try:
        check_graph(model.SerializeToString())
    except BundleError as error:
        raise ConversionError(
            f"The graph of {function.name!r} would be refused when it is opened. {error}"
        ) from error
