"""What a bundle's ONNX graph may hold, read from its bytes before any runtime opens it.

A right hash says that a file is the one its author listed, not that its author meant well. So a graph is let
through only if it is made of what exports are made of: operators of ONNX's own domain that compute and do
nothing else, weights that are all in the file, loops that end, and sizes that are written down or taken from
shapes. What is not bounded is the memory that tensors multiplied with each other may take: open bundles of
strangers in a process with a limit.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export import onnx_messages as messages
from tfprior.export.graph_values import Constant, Node, Scope, quoted
from tfprior.export.manifest import BundleError
from tfprior.export.protobuf import MalformedError, read, signed

OPERATORS = {
    *("Abs", "Add", "Ceil", "Clip", "Div", "Exp", "Floor", "Log", "Mul", "Neg", "Pow", "Reciprocal", "Round"),
    *("Sign", "Sqrt", "Sub", "Elu", "Erf", "LogSoftmax", "Relu", "Sigmoid", "Softmax", "Softplus", "Tanh"),
    *(
        "And",
        "Equal",
        "Greater",
        "GreaterOrEqual",
        "IsInf",
        "IsNaN",
        "Less",
        "LessOrEqual",
        "Not",
        "Or",
        "Where",
    ),
    *("Max", "Min", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "CumSum", "TopK"),
    *("Conv", "ConvTranspose", "MatMul", "If", "Loop", "Cast", "Identity", "Shape", "Reshape", "Transpose"),
    *("Concat", "Gather", "GatherND", "Pad", "ScatterND", "Slice", "Split", "Squeeze", "Unsqueeze"),
    *("Constant", "ConstantOfShape", "Expand", "Range"),
}
"""Those that exports are made of: none draws random numbers, reads files or calls other functions."""
SUBGRAPHS = {"If": {"then_branch", "else_branch"}, "Loop": {"body"}}
SIZES = {"ConstantOfShape": (0,), "Expand": (1,), "Pad": (1,), "Range": (0, 1, 2)}
"""Which inputs of an operator say how large its output is."""
PICKS = {"Cast", "Concat", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"}
"""What may lie between a size and the constants and shapes that it comes from."""
OPSETS = range(13, 23)
MOST_ITERATIONS = 2**24
"""Of all loops together, those inside others as often as they run."""
LARGEST_SIZE = 2**24
"""Numbers that a size written down may ask for."""
LONGEST_SHAPE = 16
LARGEST_ATTRIBUTE = 2**16
LARGEST_WINDOW = 64
"""Of kernels, strides and padding."""
DEEPEST = 8
"""Branches and loops inside others."""
FILE = "weights.bin"
"""Beside the graphs, for the weights that they share; a manifest lists it."""
PLACE = re.compile(rb"\d{1,15}")


def check_graph(file: Path | bytes, shared_bytes: int = 0) -> None:
    """Checks an ONNX file, or its bytes, without running it.

    Its weights may lie in the bundle's file of shared weights, of which there are `shared_bytes`.

    Raises:
        BundleError: for what is no ONNX model, or holds anything that exports do not.
    """
    data, label = (file, "The graph") if isinstance(file, bytes) else (file.read_bytes(), str(file))
    try:
        _check_model(memoryview(data), shared_bytes)
    except MalformedError as error:
        raise BundleError(
            f"{label} is no graph of an export: it {error}; export the bundle again, or do not use it."
        ) from error


def _check_model(data: memoryview, shared_bytes: int) -> None:
    model = read(data, messages.MODEL, "a model")
    opsets = [read(opset, messages.OPSET, "an opset") for opset in model.get("opset_import", [])]
    versions = {bytes(opset.get("domain", b"")): opset.get("version", 0) for opset in opsets}
    strange = sorted(set(versions) - {b"", b"ai.onnx.ml"})
    if strange:
        raise MalformedError(f"takes operators of the domain {quoted(strange[0])}")
    if versions.get(b"", 0) not in OPSETS:
        raise MalformedError(
            f"is of opset {versions.get(b'')}; expected one from {OPSETS[0]} to {OPSETS[-1]}"
        )
    if "graph" not in model:
        raise MalformedError("holds nothing")
    _GraphCheck(shared_bytes).check(model["graph"], Scope(), depth=0, times=1)


class _GraphCheck:
    """One pass over a graph and all that is nested in it."""

    def __init__(self, shared_bytes: int) -> None:
        self.shared_bytes = shared_bytes
        self.iterations = 0

    def check(self, data: memoryview, scope: Scope, depth: int, times: int) -> None:
        """`times` is how often the loops around this graph run it."""
        if depth > DEEPEST:
            raise MalformedError(f"nests branches and loops more than {DEEPEST} deep")
        graph = read(data, messages.GRAPH, "a graph")
        scope.inputs = [_name(value) for value in graph.get("input", [])]
        scope.outputs = [_name(value) for value in graph.get("output", [])]
        for name in scope.inputs:
            scope.define(name, None)
        for tensor in graph.get("initializer", []):
            fields = read(tensor, messages.TENSOR, "a tensor")
            scope.define(bytes(fields.get("name", b"")), _constant(fields, self.shared_bytes))
        nodes = [_node(data) for data in graph.get("node", [])]
        for node in nodes:
            for name in node.outputs:
                if name:
                    scope.define(name, node if node.operator != "Constant" else _value_of(node))
        for node in nodes:
            self._check_node(node, scope, depth, times)

    def _check_node(self, node: Node, scope: Scope, depth: int, times: int) -> None:
        for name in node.inputs:
            if name:
                scope.find(name)
        for index in SIZES.get(node.operator, ()):
            if index < len(node.inputs):
                _check_size(node, node.inputs[index], scope)
        if node.operator == "Loop":
            times *= _trip_count(node, scope)
            self.iterations += times
            if self.iterations > MOST_ITERATIONS:
                raise MalformedError(f"loops more than {MOST_ITERATIONS} times")
        inner = {
            bytes(part.get("name", b"")).decode("latin-1"): part["g"]
            for part in node.attributes
            if "g" in part
        }
        if set(inner) != SUBGRAPHS.get(node.operator, set()):
            raise MalformedError(f"has {node.operator} with the graphs {sorted(inner)}")
        for graph in inner.values():
            self.check(graph, Scope(scope, node if node.operator == "Loop" else None), depth + 1, times)


def _node(data: memoryview) -> Node:
    fields = read(bytes(data), messages.NODE, "a node")
    operator = bytes(fields.get("op_type", b"")).decode("latin-1")
    if operator not in OPERATORS:
        raise MalformedError(f"uses the operator {operator[:80]!r}, which no export has")
    if fields.get("domain"):
        raise MalformedError(f"uses {operator} of the domain {quoted(fields['domain'])}")
    attributes = [read(part, messages.ATTRIBUTE, "an attribute") for part in fields.get("attribute", [])]
    for part in attributes:
        _check_attribute(operator, part)
    return Node(
        operator,
        [bytes(name) for name in fields.get("input", [])],
        [bytes(name) for name in fields.get("output", [])],
        attributes,
    )


def _check_attribute(operator: str, attribute: dict[str, Any]) -> None:
    name = quoted(attribute.get("name", b""))
    if abs(signed(attribute.get("i", 0))) > LARGEST_ATTRIBUTE:
        raise MalformedError(f"gives {operator} {name} above {LARGEST_ATTRIBUTE}")
    if any(abs(signed(number)) > LARGEST_WINDOW for number in attribute.get("ints", [])):
        raise MalformedError(f"gives {operator} {name} above {LARGEST_WINDOW}")
    if "t" in attribute:
        _constant(read(attribute["t"], messages.TENSOR, "a tensor"))


def _constant(tensor: dict[str, Any], shared_bytes: int = 0) -> Constant:
    """A tensor whose bytes are all there and as many as its shape says."""
    name = quoted(tensor.get("name", b""))
    is_shared = "external_data" in tensor or bool(tensor.get("data_location"))
    num_bytes = _shared(tensor, shared_bytes) if is_shared else len(tensor.get("raw_data", b""))
    data_type = tensor.get("data_type", 0)
    if data_type not in messages.ITEM_SIZES:
        raise MalformedError(f"has {name} of the data type {data_type}")
    shape = [signed(size) for size in tensor.get("dims", [])]
    if len(shape) > LONGEST_SHAPE:
        raise MalformedError(f"has {name} of {len(shape)} dimensions")
    count = math.prod(shape)
    is_size = min(shape, default=0) >= 0 and math.prod(max(1, size) for size in shape) <= max(
        count, LARGEST_SIZE
    )
    if not is_size or count * messages.ITEM_SIZES[data_type] != num_bytes:
        raise MalformedError(f"says {name} is {shape} and gives {num_bytes} bytes for it")
    if data_type in messages.INTEGERS and count <= LONGEST_SHAPE and not is_shared:
        return Constant(np.frombuffer(tensor.get("raw_data", b""), messages.INTEGERS[data_type]).tolist())
    return Constant(None)


def _shared(tensor: dict[str, Any], shared_bytes: int) -> int:
    """How many bytes a tensor has in the file of shared weights."""
    name = quoted(tensor.get("name", b""))
    entries = [read(entry, messages.ENTRY, "an entry") for entry in tensor.get("external_data", [])]
    place = {bytes(entry.get("key", b"")): bytes(entry.get("value", b"")) for entry in entries}
    is_ours = place.pop(b"location", None) == FILE.encode() and len(entries) == 3 and shared_bytes
    if not is_ours or "raw_data" in tensor:
        raise MalformedError(f"keeps {name} in another file")
    if set(place) != {b"offset", b"length"} or not all(PLACE.fullmatch(number) for number in place.values()):
        raise MalformedError(f"does not say where {name} is among the shared weights")
    offset, length = int(place[b"offset"]), int(place[b"length"])
    if offset + length > shared_bytes:
        raise MalformedError(f"looks for {name} behind the end of the shared weights")
    return length


def _value_of(node: Node) -> Constant:
    tensors = [part["t"] for part in node.attributes if "t" in part]
    if len(tensors) != 1 or len(node.attributes) != 1:
        raise MalformedError("has a Constant that is no tensor")
    return _constant(read(tensors[0], messages.TENSOR, "a tensor"))


def _trip_count(loop: Node, scope: Scope) -> int:
    name = loop.inputs[0] if loop.inputs else b""
    value = scope.find(name)[1] if name else None
    if not isinstance(value, Constant) or value.integers is None or len(value.integers) != 1:
        raise MalformedError("has a Loop without a constant number of iterations")
    return max(0, value.integers[0])


def _check_size(node: Node, name: bytes, scope: Scope) -> None:
    """Follows a size to the constants and shapes that it is put together from."""
    open_ends = [(name, scope)]
    while open_ends:
        name, scope = open_ends.pop()
        holder, value = scope.find(name)
        if name in holder.checked:
            continue
        holder.checked.add(name)
        if isinstance(value, Constant):
            _check_bounds(node, value)
        elif isinstance(value, Node) and value.operator in PICKS and value.inputs:
            sources = value.inputs if value.operator == "Concat" else value.inputs[:1]
            open_ends += [(source, holder) for source in sources]
        elif isinstance(value, Node) and value.operator == "Shape":
            continue
        else:
            outside = holder.handed_in(name) if value is None else None
            if outside is None or holder.outer is None:
                made_by = value.operator if isinstance(value, Node) else "an input"
                raise MalformedError(f"computes a size of {node.operator} by {made_by}")
            open_ends.append((outside, holder.outer))


def _check_bounds(node: Node, sizes: Constant) -> None:
    product = math.prod(max(1, abs(size)) for size in sizes.integers or ())
    if sizes.integers is None or product > LARGEST_SIZE:
        size = "more than 16 numbers" if sizes.integers is None else str(sizes.integers)
        raise MalformedError(f"gives {node.operator} the size {size}, above {LARGEST_SIZE}")


def _name(value: memoryview) -> bytes:
    return bytes(read(value, messages.VALUE_INFO, "a value").get("name", b""))
