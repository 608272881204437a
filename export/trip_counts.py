"""Every loop of a graph says how often it runs at most.

tf2onnx leaves the trip count of an ONNX `Loop` empty, and a condition ends it: whoever opens the graph could
not tell a loop that ends from one that does not. Here the counter among the conditions is found.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from tfprior.export.onnx_graphs import subgraphs

Value = onnx.NodeProto | onnx.TensorProto | None
"""What makes a value: a node, a constant, or None for an input."""


class Scope:
    """What a graph, and those around it, name."""

    def __init__(self, graph: onnx.GraphProto, outer: Scope | None = None) -> None:
        self.outer = outer
        self.values: dict[str, Value] = {value.name: None for value in graph.input}
        self.values |= {tensor.name: tensor for tensor in graph.initializer}
        self.values |= {name: node for node in graph.node for name in node.output}

    def __getitem__(self, name: str) -> Value:
        if name in self.values or self.outer is None:
            return self.values.get(name)
        return self.outer[name]

    def source(self, name: str) -> str:
        """The name of the value that `name` hands on, perhaps in another type."""
        made_by = self[name]
        while isinstance(made_by, onnx.NodeProto) and made_by.op_type in ("Identity", "Cast"):
            name = made_by.input[0]
            made_by = self[name]
        return name

    def integer(self, name: str) -> int | None:
        """The constant of that name, if it is one whole number."""
        made_by = self[self.source(name)]
        if not isinstance(made_by, onnx.TensorProto):
            return None
        array = numpy_helper.to_array(made_by)
        number = array.item() if array.size == 1 else None
        return int(number) if number is not None and number == number // 1 else None


def add_trip_counts(graph: onnx.GraphProto, outer: Scope | None = None) -> list[str]:
    """Fills in the trip counts that can be read; names the loops where none can."""
    scope = Scope(graph, outer)
    endless = []
    for node in graph.node:
        for inner in subgraphs(node):
            endless += add_trip_counts(inner, scope)
        if node.op_type != "Loop":
            continue
        if not node.input[0]:
            count = _trip_count(node, scope)
            if count is None:
                endless.append(node.name)
                continue
            node.input[0] = f"{node.name}_trip_count"
            tensor = numpy_helper.from_array(np.asarray(count, "int64"), node.input[0])
            graph.initializer.append(tensor)
        elif scope.integer(node.input[0]) is None:
            endless.append(node.name)
    return endless


def _trip_count(loop: onnx.NodeProto, outer: Scope) -> int | None:
    """How often it runs at most, from a counter below a limit among its conditions."""
    (body,) = subgraphs(loop)
    scope = Scope(body, outer)
    counts = []
    conditions = [body.output[0].name]
    while conditions:
        condition = scope[scope.source(conditions.pop())]
        if not isinstance(condition, onnx.NodeProto):
            continue
        if condition.op_type == "And":
            conditions += condition.input
        elif condition.op_type == "Less":
            start, end = _start(loop, body, scope, condition.input[0]), scope.integer(condition.input[1])
            if start is not None and end is not None:
                counts.append(max(0, end - start))
    return min(counts, default=None)


def _start(loop: onnx.NodeProto, body: onnx.GraphProto, scope: Scope, counter: str) -> int | None:
    """Where a counter begins, if it is one: carried from run to run and grown by one in each."""
    counter = scope.source(counter)
    addition = scope[counter]
    carried = [scope.source(value.name) for value in body.output[1:]]
    if counter not in carried or not isinstance(addition, onnx.NodeProto) or addition.op_type != "Add":
        return None
    # Loop(count, condition, carried …) runs body(iteration, condition, carried …) → condition, carried …
    index = 2 + carried.index(counter)
    added = [term for term in addition.input if scope.source(term) != body.input[index].name]
    if [scope.integer(term) for term in added] != [1] or scope.outer is None:
        return None
    return scope.outer.integer(loop.input[index])
