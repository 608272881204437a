"""Walks through ONNX graphs: a graph, the branches and bodies of its nodes, and theirs."""

from collections.abc import Iterator

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The branches or the body of a node."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g


def with_subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, then all within it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from with_subgraphs(inner)


def names_read(graph: onnx.GraphProto) -> set[str]:
    """The values that nodes of the graph, or of any within it, take in, and those that these give back."""
    graphs = list(with_subgraphs(graph))
    taken = {name for each in graphs for node in each.node for name in node.input}
    return taken | {value.name for each in graphs for value in each.output}
