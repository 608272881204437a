"""What tf2onnx computes wrongly or forgets, and what is done about it.

Every correction has a test that fails once tf2onnx no longer needs it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from tfprior.export.patching import Patch


def _stopped_by_errors(optimize_graph: Callable[..., Any]) -> Callable[..., Any]:
    def optimize(graph: Any, catch_errors: bool = True, optimizers: Any = None) -> Any:
        return optimize_graph(graph, catch_errors=False, optimizers=optimizers)

    return optimize


def _products_of_maps(mul_handler: Callable[..., bool]) -> Callable[..., bool]:
    def handle(optimizer: Any, transpose: Any, product: Any) -> bool:
        if _is_const_factor(product) and _is_shared_convolution(*transpose.inputs):
            return False  # the factor would go into its kernel
        is_square = product.input[0] == product.input[1]
        is_moved = mul_handler(optimizer, transpose, product)
        if is_moved and is_square:
            graph = optimizer._g
            graph.set_shape(product.output[0], graph.get_shape(product.input[0]))
        return is_moved

    return handle


def _is_const_factor(product: Any) -> bool:
    return any(factor is not None and factor.is_const() for factor in product.inputs)


def _is_shared_convolution(node: Any) -> bool:
    """Whether several nodes use what a convolution gives, those of branches and loops at any depth too."""

    def uses(graph: Any) -> int:
        nodes = graph.get_nodes()
        inner = (body for each in nodes for body in (each.get_body_graphs() or {}).values())
        return sum(node.output[0] in each.input for each in nodes) + sum(map(uses, inner))

    return node is not None and node.type == "Conv" and uses(node.graph) > 1


def _shaped_functions(resolve_functions: Callable[..., Any]) -> Callable[..., Any]:
    return _branches_and_bodies


def _branches_and_bodies(graph: Any) -> list[Any]:
    """Every branch and loop body of a graph, those inside others first, with the shapes of their inputs.

    What the arguments remember of their shapes may have been forgotten by then, and would come first.
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
            arguments = node.inputs[1:] if "then_branch" in node.node_def.attr else node.inputs
            for role in ("then_branch", "else_branch", "cond", "body"):
                if role not in node.node_def.attr:
                    continue
                name = node.get_attr(role).name
                if name not in found:
                    shapes = [tensor.shape for tensor in arguments]
                    inner = function_def_to_graph(library[name], input_shapes=shapes)
                    visit(inner)
                    found[name] = inner
                    set_function(name, inner)

    visit(graph)
    return list(found.values())


PATCHES = (
    Patch(
        "tf2onnx.optimizer:optimize_graph",
        "A pass that fails is logged, and the graph goes on as it was before: it stops the export instead.",
        _stopped_by_errors,
    ),
    Patch(
        "tf2onnx.optimizer.transpose_optimizer:TransposeOptimizer._mul_handler",
        "A transposition moved behind x · x leaves the product with the shape that it had before, and over "
        "maps of one row or column becomes a reshaping that mixes up channels and places. A constant factor "
        "goes into the kernel of a convolution though another branch uses its map without.",
        _products_of_maps,
    ),
    Patch(
        "tf2onnx.tfonnx:resolve_functions",
        "What is nested in branches and loops gets no shapes, and a branch those of the wrong inputs.",
        _shaped_functions,
    ),
)


def _select(context: Any, node: Any, name: str, args: Any) -> Any:
    """SelectV2 is Where; the converter's own rule blends both branches, and NaN · 0 is NaN."""
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


HANDLERS = {"SelectV2": _select, "Expm1": _expm1, "Log1p": _log1p}
"""TensorFlow's operators that are converted here: name → what puts ONNX's in their place."""


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
