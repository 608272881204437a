"""ONNX graphs that no export would hold, and what each is refused for."""

import numpy as np
import onnx
from made_graphs import (
    DOUBLE,
    RIGHT,
    SHAPE,
    YES,
    X,
    Y,
    body,
    branch,
    constant,
    loop,
    model,
    nested,
    node,
    outside,
    sized,
    with_field,
    with_tensor,
)
from onnx import helper

from tfprior.export.graph_check import LARGEST_SIZE, MOST_ITERATIONS

HOSTILE: dict[str, tuple[onnx.ModelProto | bytes, str]] = {
    "another domain": (
        model(node("Abs", ["x"], ["y"], domain="strange")),
        "uses Abs of the domain 'strange'",
    ),
    "another opset": (
        model(node("Abs", ["x"], ["y"]), opset_imports=[helper.make_opsetid("", 30)]),
        "is of opset 30; expected one from 13 to 22",
    ),
    "operators of a library": (
        with_field(lambda made: made.opset_import.add(domain="com.microsoft", version=1)),
        "takes operators of the domain 'com.microsoft'",
    ),
    "noise of its own": (
        model(node("RandomUniformLike", ["x"], ["y"])),
        "uses the operator 'RandomUniformLike'",
    ),
    "functions": (
        with_field(lambda made: made.functions.add(name="Abs", domain="")),
        "has field 25 in a model, which no export has",
    ),
    "training": (with_field(lambda made: made.training_info.add()), "has field 20 in a model"),
    "sparse weights": (
        with_field(lambda made: made.graph.sparse_initializer.add()),
        "has field 15 in a graph",
    ),
    "an attribute of a function": (
        with_field(lambda made: made.graph.node[0].attribute.add(name="a", ref_attr_name="b")),
        "has field 21 in an attribute",
    ),
    "a file elsewhere": (with_tensor(outside), "keeps 'w' in another file"),
    "a weight larger than its bytes": (
        with_tensor(lambda tensor: tensor.dims.__setitem__(0, 2**40)),
        r"says 'w' is \[1099511627776, 3\] and gives 24 bytes for it",
    ),
    "a weight of a negative size": (
        with_tensor(lambda tensor: tensor.dims.__setitem__(0, -2)),
        r"says 'w' is \[-2, 3\] and gives 24 bytes for it",
    ),
    "an empty weight of a giant size": (
        with_tensor(lambda tensor: tensor.CopyFrom(constant("w", np.zeros((0, 2**40))))),
        r"says 'w' is \[0, 1099511627776\] and gives 0 bytes for it",
    ),
    "a weight of 17 dimensions": (
        with_tensor(lambda tensor: tensor.dims.extend([1] * 15)),
        "has 'w' of 17 dimensions",
    ),
    "strings": (with_tensor(lambda tensor: setattr(tensor, "data_type", 8)), "has 'w' of the data type 8"),
    "a loop without a count": (
        model(loop("", body(DOUBLE)), constants=(YES,)),
        "has a Loop without a constant",
    ),
    "a loop as long as asked": (
        model(node("Size", ["x"], ["n"]), loop("n", body(DOUBLE)), constants=(YES,)),
        "uses the operator 'Size'",
    ),
    "a loop of a computed count": (
        model(
            node("Add", ["two", "two"], ["n"]), loop("n", body(DOUBLE)), constants=(YES, constant("two", 2))
        ),
        "has a Loop without a constant",
    ),
    "a loop of a count that may be given": (
        with_field(
            lambda made: made.CopyFrom(
                helper.make_model(
                    helper.make_graph(
                        [loop("n", body(DOUBLE))],
                        "made",
                        [X, helper.make_tensor_value_info("n", 7, [])],
                        [Y],
                        [YES, constant("n", 2)],
                    )
                )
            )
        ),
        "makes 'n' twice|is of opset",
    ),
    "a loop for ever": (
        model(loop("n", body(DOUBLE)), constants=(YES, constant("n", MOST_ITERATIONS + 1))),
        "loops more than 16777216 times",
    ),
    "loops in loops for ever": (
        model(
            loop("n", body(loop("n", body(DOUBLE), ("z",), "w2"), out=("w2",))),
            constants=(YES, constant("n", 5000)),
        ),
        "loops more than 16777216 times",
    ),
    "branches in branches": (model(nested(9), constants=(YES,)), "nests branches and loops more than 8 deep"),
    "a branch of another node": (
        model(node("Abs", ["x"], ["y"], body=branch(node("Abs", ["x"], ["b"])))),
        r"has Abs with the graphs \['body'\]",
    ),
    "a giant constant": (
        sized("ConstantOfShape", "size", constants=(constant("size", [2**20, 2**20]),)),
        r"gives ConstantOfShape the size \[1048576, 1048576\], above 16777216",
    ),
    "a giant expansion": (
        sized("Expand", "x", "size", constants=(constant("size", [LARGEST_SIZE + 1, 1]),)),
        "gives Expand the size",
    ),
    "a giant expansion in pieces": (
        sized(
            "Expand",
            *("x", "size"),
            constants=(constant("one", [1]), constant("many", [2**62])),
            before=[node("Concat", ["one", "many"], ["size"], axis=0)],
        ),
        "gives Expand the size",
    ),
    "a giant range": (
        sized("Range", "a", "b", "c", constants=(constant("a", 0), constant("b", 2**40), constant("c", 1))),
        "gives Range the size",
    ),
    "giant padding": (
        sized("Pad", "x", "pads", constants=(constant("pads", [0, 0, 2**40, 0]),)),
        "gives Pad the size",
    ),
    "a computed size": (
        sized(
            "Expand",
            *("x", "size"),
            constants=(constant("many", [2**20, 2**20]),),
            before=[node("Mul", ["many", "many"], ["size"])],
        ),
        "computes a size of Expand by Mul",
    ),
    "a size that is asked for": (
        sized("ConstantOfShape", "x", constants=()),
        "computes a size of .* by an input",
    ),
    "a size that grows in a loop": (
        model(
            SHAPE,
            loop(
                "three",
                body(
                    node("Expand", ["z", "size"], ["w"]),
                    node("Add", ["size", "size"], ["more"]),
                    names=("z", "size"),
                    out=("w", "more"),
                ),
                ("x", "shape"),
            ),
            constants=(YES, constant("three", 3)),
        ),
        "computes a size of Expand by an input",
    ),
    "a giant window": (
        model(node("Conv", ["x", "x"], ["y"], pads=[2**30, 0])),
        "gives Conv 'pads' above 64",
    ),
    "a giant attribute": (
        model(node("Split", ["x"], ["y"], num_outputs=2**40)),
        "gives Split 'num_outputs' above",
    ),
    "a constant that is no tensor": (
        model(node("Constant", [], ["c"], value_ints=[1]), node("Add", ["x", "c"], ["y"])),
        "has a Constant that is no tensor",
    ),
    "one name twice": (model(node("Abs", ["x"], ["y"]), node("Neg", ["x"], ["y"])), "makes 'y' twice"),
    "a name from nowhere": (model(node("Abs", ["?"], ["y"])), r"uses '\?', which nothing makes"),
    "nothing": (b"", "is of opset None"),
    "an opset alone": (
        onnx.ModelProto(opset_import=[helper.make_opsetid("", 18)]).SerializeToString(),
        "holds nothing",
    ),
    "text": (b"<html>not found</html>", "has a field of the unknown wire type 4"),
    "an endless number": (b"\x08" + b"\xff" * 20, "has a number of more than 64 bits"),
    "a length beyond the end": (b"\x3a\xff\xff\xff\xff\x0f", "ends in the middle of a field"),
    "two graphs": (RIGHT["a weight"].SerializeToString() * 2, "has ir_version twice in a model"),
    "another wire type": (b"\x38\x01", "has graph of a model in the wrong wire type 0"),
    "many fields": (b"\x42\x00" * (2**17 + 1), "has a model of more than 131072 fields"),
}
