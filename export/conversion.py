"""From TensorFlow's graphs to ONNX: tf2onnx, kept honest and quick.

It logs what it cannot convert and carries on, has no rule for some operators and a wrong one for another,
forgets the shapes inside nested branches, and takes minutes over graphs with many states. Everything that is
done about it stands here, in force during a conversion only.
"""

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx

from tfprior.export.functions import Function

OPSET = 18
PASSES = (
    "optimize_transpose",
    "fold_constants",
    "merge_duplication",
    "remove_identity",
    "remove_back_to_back",
)
"""Those of the converter's optimizations that find something to do here."""


class ConversionError(RuntimeError):
    """A graph that ONNX runtimes would refuse or compute differently."""


def convert(function: Function, graph: Any) -> onnx.ModelProto:
    """One function's graph as an ONNX model.

    Raises:
        ConversionError: if the converter left an operator out.
    """
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, *port.shape), port.dtype, name=port.name) for port in function.inputs]
    names = [port.name for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        return graph(**dict(zip(names, tensors, strict=True)))

    with _collected_complaints() as complaints, _mended():
        model, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=signature, autograph=False),
            input_signature=signature,
            opset=OPSET,
            custom_op_handlers={"SelectV2": (_select, []), "Expm1": (_expm1, []), "Log1p": (_log1p, [])},
        )
    if complaints:
        raise ConversionError(f"tf2onnx could not convert {function.name!r}: {'; '.join(complaints)}")
    return model


@contextmanager
def _mended() -> Iterator[None]:
    """tf2onnx with what is mended below."""
    from tf2onnx import graph, optimizer
    from tf2onnx.optimizer.merge_duplicated_nodes_optimizer import MergeDuplicatedNodesOptimizer as Merge
    from tf2onnx.optimizer.optimizer_base import GraphOptimizerBase as Pass

    useful = {name: optimizer._optimizers[name] for name in PASSES}
    with ExitStack() as stack:
        for mend in (
            # The converter copies the graph before each of its passes to survive their errors; one that fails
            # should stop the export instead.
            patch.dict(os.environ, TF2ONNX_CATCH_ERRORS="FALSE"),
            patch.dict(optimizer._optimizers, useful, clear=True),
            patch.object(Pass, "optimize", _optimized),
            patch.object(Merge, "_skip_node_type", _unless_nested(Merge._skip_node_type)),
            patch("tf2onnx.tfonnx.resolve_functions", _branches_and_bodies),
            patch.object(graph.Graph, "extract_sub_graph_nodes", _nodes_behind),
            patch.object(graph.Graph, "replace_all_inputs", _by_consumers(graph.Graph.replace_all_inputs)),
        ):
            stack.enter_context(mend)
        yield


def _optimized(optimization: Any, graph: Any, iteration: int) -> Any:
    """One pass over a graph; the original serializes all of it after each, for the next to look at."""
    optimization.opt_iteration = iteration
    graph = optimization._optimize(graph)
    graph.delete_unused_nodes(graph.outputs)
    return graph


def _unless_nested(skip: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Branches and loops are no duplicates: only what is serialized would tell them apart."""
    return staticmethod(lambda node: skip(node) or bool(node.get_body_graphs()))


def _nodes_behind(
    graph: Any, outputs: list[str], input_checker: Any = None, remove_unused_inputs: bool = True
) -> list[Any]:
    """The nodes that some outputs depend on, by one walk for all of them; the original takes one for each."""
    names = [*outputs, *([] if remove_unused_inputs else [node.output[0] for node in graph.inputs])]
    found = set()
    while names:
        node = graph.get_node_by_output(names.pop(), search_in_parent_graphs=False)
        if not node or node in found or (input_checker and input_checker(node) is False):
            continue
        found.add(node)
        names += [*node.input, *node.get_implicit_inputs()]
    return list(found)


def _by_consumers(replace_all_inputs: Callable[..., None]) -> Callable[..., None]:
    """Renames an input where it is consumed, which the graph knows, instead of looking at every node."""

    def replace(graph: Any, old_input: str, new_input: str, ops: Any = None) -> None:
        if ops is not None:
            consumers = map(graph.get_node_by_name, graph._output_to_consumers.get(old_input, ()))
            ops = [node for node in consumers if node in ops]
        replace_all_inputs(graph, old_input, new_input, ops)

    return replace


def _branches_and_bodies(graph: Any) -> list[Any]:
    """Every branch and loop body of a graph, those inside others first, with the shapes of their inputs.

    The converter's own function gives no shapes to what is nested, and to branches those of the wrong inputs;
    what the arguments remember of their shapes may have been forgotten by then, and would come first.
    """
    from tensorflow.python.framework.function_def_to_graph import function_def_to_graph
    from tf2onnx.tf_loader import set_function

    library = {function.signature.name: function for function in graph.as_graph_def().library.function}
    for function in library.values():
        function.arg_attr.clear()
    found: dict[str, Any] = {}

    def visit(caller: Any) -> None:
        for node in caller.get_operations():
            # The first input of a branch is the condition, which is not handed on.
            given = node.inputs[1:] if "then_branch" in node.node_def.attr else node.inputs
            for role in ("then_branch", "else_branch", "cond", "body"):
                if role not in node.node_def.attr:
                    continue
                name = node.get_attr(role).name
                if name not in found:
                    inner = function_def_to_graph(
                        library[name], input_shapes=[tensor.shape for tensor in given]
                    )
                    visit(inner)
                    found[name] = inner
                    set_function(name, inner)

    visit(graph)
    return list(found.values())


def _select(context: Any, node: Any, name: str, args: Any) -> Any:
    """SelectV2 is Where; the converter's own rule may blend both branches and leak one's NaN."""
    node.type = "Where"
    return node


def _expm1(context: Any, node: Any, name: str, args: Any) -> Any:
    """exp(x) − 1 as 2t / (1 − t), t = tanh(x / 2): accurate near zero; from 1 on as it is written."""
    one, two = _constants(context, node, 1, 2)
    (x,) = node.input
    t = _add(context, "Tanh", _add(context, "Div", x, two))
    small = _add(context, "Div", _add(context, "Mul", two, t), _add(context, "Sub", one, t))
    large = _add(context, "Sub", _add(context, "Exp", x), one)
    return _replace(context, node, "Where", _add(context, "Less", x, one), small, large)


def _log1p(context: Any, node: Any, name: str, args: Any) -> Any:
    """log(1 + x) as x · log(u) / (u − 1), u = 1 + x as rounded: accurate near zero, where u = 1 it is x."""
    (one,) = _constants(context, node, 1)
    (x,) = node.input
    u = _add(context, "Add", one, x)
    rounded = _add(context, "Sub", u, one)
    is_one = _add(context, "Equal", u, one)
    ratio = _add(context, "Div", _add(context, "Log", u), _add(context, "Where", is_one, one, rounded))
    return _replace(context, node, "Where", is_one, x, _add(context, "Mul", x, ratio))


def _constants(context: Any, node: Any, *values: float) -> list[str]:
    from tf2onnx.utils import make_name

    arrays = [np.asarray(value, "float32") for value in values]
    return [context.make_const(make_name(node.name), array).output[0] for array in arrays]


def _add(context: Any, operator: str, *inputs: str) -> str:
    return context.make_node(operator, list(inputs)).output[0]


def _replace(context: Any, node: Any, operator: str, *inputs: str) -> Any:
    """A node of another operator in the place of `node`."""
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    context.remove_node(node.name)
    return context.make_node(
        operator,
        list(inputs),
        name=node.name,
        outputs=node.output,
        shapes=[shape],
        dtypes=[dtype],
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
