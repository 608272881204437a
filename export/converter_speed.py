"""What makes tf2onnx quicker and changes nothing of what it makes; over many states it took minutes.

Every patch has a test that compares the graphs with and without it.
"""

from collections.abc import Callable
from typing import Any

from tfprior.export.patching import Patch

PASSES = (
    "optimize_transpose",
    "fold_constants",
    "merge_duplication",
    "remove_identity",
    "remove_back_to_back",
)
"""Those of the converter's optimizations that find something to do here."""

ABSENT = ("lstm", "gru", "rnn_cell", "generic_loop", "random", "dropout", "quantize", "eye", "ragged")
"""What graphs of one step in float32 have nothing of: parts of names of the converter's rewriters."""


def _useful_passes(optimizers: dict[str, Any]) -> dict[str, Any]:
    return {name: optimizers[name] for name in PASSES}


def _useful_rewriters(run_rewriters: Callable[..., None]) -> Callable[..., None]:
    def run(graph: Any, rewriters: list[Callable[..., Any]], continue_on_error: Any) -> None:
        useful = [each for each in rewriters if not any(part in each.__name__ for part in ABSENT)]
        run_rewriters(graph, useful, continue_on_error)

    return run


def _unserialized(optimize: Callable[..., Any]) -> Callable[..., Any]:
    def optimized(optimization: Any, graph: Any, iteration: int) -> Any:
        optimization.opt_iteration = iteration
        graph = optimization._optimize(graph)
        graph.delete_unused_nodes(graph.outputs)
        return graph

    return optimized


def _unless_nested(skip_node_type: Callable[[Any], bool]) -> Any:
    return staticmethod(lambda node: skip_node_type(node) or bool(node.get_body_graphs()))


def _one_walk(extract_sub_graph_nodes: Callable[..., Any]) -> Callable[..., Any]:
    def nodes_behind(
        graph: Any, outputs_name: list[str], input_checker: Any = None, remove_unused_inputs: bool = True
    ) -> list[Any]:
        names = [*outputs_name, *([] if remove_unused_inputs else [node.output[0] for node in graph.inputs])]
        found = set()
        while names:
            node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
            if not node or node in found or (input_checker and input_checker(node) is False):
                continue
            found.add(node)
            names += [*node.input, *node.get_implicit_inputs()]
        return [node for node in graph.get_nodes() if node in found]  # in one order: the same file each time

    return nodes_behind


def _by_consumers(replace_all_inputs: Callable[..., None]) -> Callable[..., None]:
    def replace(graph: Any, old_input: str, new_input: str, ops: Any = None) -> None:
        if ops is not None:
            consumers = map(graph.get_node_by_name, graph._output_to_consumers.get(old_input, ()))
            ops = [node for node in consumers if node in ops]
        replace_all_inputs(graph, old_input, new_input, ops)

    return replace


PATCHES = (
    Patch("tf2onnx.optimizer:_optimizers", "Seven of twelve passes find nothing to do here.", _useful_passes),
    Patch(
        "tf2onnx.tfonnx:run_rewriters",
        "Each of 27 rewriters goes through all nodes, and 15 look for recurrent cells, noise, and the like.",
        _useful_rewriters,
    ),
    Patch(
        "tf2onnx.optimizer.optimizer_base:GraphOptimizerBase.optimize",
        "After every pass the whole graph is serialized, weights and all, to be counted.",
        _unserialized,
    ),
    Patch(
        "tf2onnx.optimizer.merge_duplicated_nodes_optimizer:MergeDuplicatedNodesOptimizer._skip_node_type",
        "Branches and loops are no duplicates, and telling so would compare all that is in them.",
        _unless_nested,
    ),
    Patch(
        "tf2onnx.graph:Graph.extract_sub_graph_nodes",
        "The nodes behind the outputs take one walk instead of one for each output.",
        _one_walk,
    ),
    Patch(
        "tf2onnx.graph:Graph.replace_all_inputs",
        "An input is renamed where it is consumed, which the graph knows, instead of looking at every node.",
        _by_consumers,
    ),
)
