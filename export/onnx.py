"""Functions as ONNX graphs, checked before anyone sees them."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime

from tfprior.export.functions import Function

OPSET = 18


class ConversionError(RuntimeError):
    """A graph that ONNX runtimes would refuse or compute differently."""


def write_onnx(function: Function, graph: Any, path: Path, metadata: dict[str, str]) -> None:
    """Converts one function's graph, checks it and writes it.

    Raises:
        ConversionError: if the converter left an operator out, or the graph does not pass the full check,
            lacks a named input or output, draws random numbers, or does not load in ONNX Runtime.
    """
    model = _convert(function, graph)
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


def _convert(function: Function, graph: Any) -> onnx.ModelProto:
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, *port.shape), port.dtype, name=port.name) for port in function.inputs]
    names = [port.name for port in function.inputs]

    def call(*tensors: Any) -> dict[str, Any]:
        return graph(**dict(zip(names, tensors, strict=True)))

    # The converter copies the graph before each of its passes to survive their errors; one that fails should
    # stop the export instead, and without the copies it is twice as fast.
    with (
        _collected_complaints() as complaints,
        patch.dict(os.environ, TF2ONNX_CATCH_ERRORS="FALSE"),
        patch("tf2onnx.tfonnx.resolve_functions", _branches_and_bodies),
        patch.dict("tf2onnx.optimizer._optimizers", _optimizers(), clear=True),
    ):
        model, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=signature, autograph=False),
            input_signature=signature,
            opset=OPSET,
            custom_op_handlers={"SelectV2": (_select, []), "Expm1": (_expm1, []), "Log1p": (_log1p, [])},
        )
    if complaints:
        raise ConversionError(f"tf2onnx could not convert {function.name!r}: {'; '.join(complaints)}")
    return model


def _optimizers() -> dict[str, Any]:
    """Those of the converter's passes that find something to do; each costs as much as the others."""
    from tf2onnx import optimizer

    useful = (
        "optimize_transpose",
        "fold_constants",
        "merge_duplication",
        "remove_identity",
        "remove_back_to_back",
    )
    return {name: optimizer._optimizers[name] for name in useful}


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
    return [
        context.make_const(f"{node.name}_{value}", np.asarray(value, "float32")).output[0] for value in values
    ]


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
