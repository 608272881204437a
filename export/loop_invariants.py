"""What a loop carries and never changes, weights and noise above all, it reads from around it instead.

TensorFlow hands everything that a loop reads through every iteration. ONNX's bodies see what is around them,
so a carried value that the body gives back as it got it is dropped: ONNX Runtime copies less, and OpenVINO,
which takes no body whose output is an input, loads the graph.
"""

from collections.abc import Mapping

import onnx

from tfprior.export.onnx_graphs import names_read, subgraphs


def hoist_loop_invariants(graph: onnx.GraphProto) -> None:
    """Rewrites every loop of the graph, those inside others first."""
    nodes, read = list(graph.node), names_read(graph)
    del graph.node[:]
    for node in nodes:
        for inner in subgraphs(node):
            hoist_loop_invariants(inner)
        replaced = _hoist(node) if node.op_type == "Loop" else {}
        graph.node.append(node)
        graph.node.extend(
            onnx.helper.make_node("Identity", [outside], [output])
            for output, outside in replaced.items()
            if output in read
        )


def _hoist(loop: onnx.NodeProto) -> dict[str, str]:
    """Drops what the loop carries unchanged: its outputs of that kind → the names of what it was given.

    Loop(count, condition, carried …) runs body(iteration, condition, carried …) → condition, carried …
    """
    (body,) = subgraphs(loop)
    handed_on = {node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"}
    carried = range(len(loop.input) - 2)
    unchanged = [
        index
        for index in carried
        if _source(body.output[1 + index].name, handed_on) == body.input[2 + index].name
    ]
    outside = {body.input[2 + index].name: loop.input[2 + index] for index in unchanged}
    replaced = {loop.output[index]: loop.input[2 + index] for index in unchanged}
    for index in reversed(unchanged):
        del body.output[1 + index], body.input[2 + index], loop.input[2 + index], loop.output[index]
    for index, value in enumerate(body.output):
        if value.name in outside:  # a body gives back only what it makes
            made = f"{loop.output[0]}_{index}_{value.name}"
            body.node.add(op_type="Identity", input=[value.name], output=[made])
            value.name = made
    _rename(body, outside)
    return replaced


def _source(name: str, handed_on: Mapping[str, str]) -> str:
    while name in handed_on:
        name = handed_on[name]
    return name


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for inner in subgraphs(node):
            _rename(inner, names)
