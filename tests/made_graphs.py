"""ONNX graphs made by hand: what exports are made of, and the pieces of others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

X = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])
Y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
node = helper.make_node


def constant(name: str, value: Any, dtype: str = "int64") -> TensorProto:
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def model(*nodes: onnx.NodeProto, constants: tuple[TensorProto, ...] = (), **options: Any) -> onnx.ModelProto:
    """x → y."""
    graph = helper.make_graph(list(nodes), "made", [X], [Y], list(constants))
    return helper.make_model(graph, **{"opset_imports": [helper.make_opsetid("", 18)], **options})


def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), "branch", [], [helper.make_tensor_value_info("b", 1, None)])


def body(
    *nodes: onnx.NodeProto, names: tuple[str, ...] = ("z",), out: tuple[str, ...] = ("w",)
) -> onnx.GraphProto:
    """Of a loop that goes on, with what it carries."""
    ins = [helper.make_tensor_value_info("i", 7, []), helper.make_tensor_value_info("go", 9, [])]
    ins += [helper.make_tensor_value_info(name, 1, None) for name in names]
    outs = [helper.make_tensor_value_info("go_on", 9, [])]
    outs += [helper.make_tensor_value_info(name, 1, None) for name in out]
    return helper.make_graph([node("Identity", ["go"], ["go_on"]), *nodes], "body", ins, outs)


def loop(
    count: str, graph: onnx.GraphProto, carried: tuple[str, ...] = ("x",), output: str = "y"
) -> onnx.NodeProto:
    outputs = [output, *(f"{output}_{index}" for index in range(1, len(carried)))]
    return node("Loop", [count, "yes", *carried], outputs, body=graph)


YES = constant("yes", True, "bool")
DOUBLE = node("Add", ["z", "z"], ["w"])


def nested(depth: int) -> onnx.NodeProto:
    inner = branch(node("Identity", ["x"], ["b"])) if depth == 1 else branch(nested(depth - 1))
    return node("If", ["yes"], ["b" if depth < 99 else "y"], then_branch=inner, else_branch=inner)


def sized(
    operator: str, *inputs: str, constants: tuple[TensorProto, ...], before: Any = ()
) -> onnx.ModelProto:
    return model(*before, node(operator, list(inputs), ["y"]), constants=constants)


def with_tensor(change: Callable[[TensorProto], object]) -> onnx.ModelProto:
    tensor = constant("w", np.zeros((2, 3)), "float32")
    change(tensor)
    made = model(node("Add", ["x", "w"], ["y"]))
    made.graph.initializer.append(tensor)
    return made


def with_field(change: Callable[[onnx.ModelProto], object]) -> onnx.ModelProto:
    made = model(node("Abs", ["x"], ["y"]))
    change(made)
    return made


def outside(tensor: TensorProto) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


SHAPE = node("Shape", ["x"], ["shape"])
RIGHT: dict[str, onnx.ModelProto] = {
    "a weight": with_tensor(lambda tensor: None),
    "a branch": model(
        node(
            "If", ["yes"], ["y"], then_branch=branch(node("Abs", ["x"], ["b"])), else_branch=branch(nested(7))
        ),
        constants=(YES,),
    ),
    "a loop in a loop": model(
        loop("three", body(loop("four", body(node("Add", ["z", "x"], ["w"])), ("z",), "w2"), out=("w2",))),
        constants=(YES, constant("three", 3), constant("four", 4)),
    ),
    "sizes of shapes and constants": model(
        SHAPE,
        node("Slice", ["shape", "zero", "one"], ["batch"]),
        node("Concat", ["batch", "three"], ["size"], axis=0),
        node("ConstantOfShape", ["size"], ["zeros"], value=constant("", [0], "float32")),
        node("Expand", ["x", "size"], ["x_"]),
        node("Add", ["x_", "zeros"], ["y"]),
        constants=(constant("zero", [0]), constant("one", [1]), constant("three", [3])),
    ),
    "a size that a loop hands on": model(
        SHAPE,
        loop(
            "three",
            body(
                node("Expand", ["z", "size"], ["w"]),
                node("Identity", ["size"], ["same"]),
                names=("z", "size"),
                out=("w", "same"),
            ),
            ("x", "shape"),
        ),
        constants=(YES, constant("three", 3)),
    ),
    "a constant in a node": model(
        node("Constant", [], ["size"], value=constant("", [2, 3])), node("Expand", ["x", "size"], ["y"])
    ),
}


def serialized(made: onnx.ModelProto | bytes) -> bytes:
    return made if isinstance(made, bytes) else made.SerializeToString()
