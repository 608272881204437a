"""Graphs that no export would hold are refused from their bytes alone, in one sentence."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundle_files import replace_file
from onnx import TensorProto, helper, numpy_helper

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export.client import OnnxSampler
from tfprior.export.graph_check import LARGEST_SIZE, MOST_ITERATIONS, OPERATORS, check_graph
from tfprior.export.manifest import BundleError
from tfprior.priors import GatedPixelCNN

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


def serialized(made: onnx.ModelProto | bytes) -> bytes:
    return made if isinstance(made, bytes) else made.SerializeToString()


@pytest.mark.parametrize("name", RIGHT)
def test_what_exports_are_made_of_is_let_through(name: str, tmp_path: Path) -> None:
    check_graph(serialized(RIGHT[name]))
    (tmp_path / "x.onnx").write_bytes(serialized(RIGHT[name]))
    check_graph(tmp_path / "x.onnx")


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_in_one_sentence(name: str) -> None:
    made, message = HOSTILE[name]
    with pytest.raises(BundleError, match=f"no graph of an export: it ({message})") as error:
        check_graph(serialized(made))
    assert re.fullmatch(r"[^\n]*; export the bundle again, or do not use it\.", str(error.value))


def test_a_cycle_is_followed_once() -> None:
    ring = [node("Identity", ["b"], ["a"]), node("Identity", ["a"], ["b"]), node("Expand", ["x", "a"], ["y"])]
    check_graph(serialized(model(*ring)))  # ONNX Runtime refuses it


def every_node(graph: onnx.GraphProto) -> Iterator[tuple[onnx.GraphProto, onnx.NodeProto]]:
    for one in graph.node:
        yield graph, one
        for part in one.attribute:
            if part.HasField("g"):
                yield from every_node(part.g)


def is_harmless(data: bytes) -> bool:
    """What ONNX's own reader finds in bytes that were let through."""
    try:
        made = onnx.load_from_string(data)
    except Exception:
        return True  # so does no runtime
    tensors = [tensor for graph, _ in every_node(made.graph) for tensor in graph.initializer]
    nodes = [one for _, one in every_node(made.graph)]
    return (
        not made.functions
        and not any(tensor.external_data or tensor.data_location for tensor in tensors)
        and all(one.op_type in OPERATORS and not one.domain for one in nodes)
        and all(one.input[0] for one in nodes if one.op_type == "Loop")
    )


def outcome(data: bytes) -> str:
    try:
        check_graph(data)
    except BundleError as error:
        return "refused" if "\n" not in str(error) else "raw"
    except Exception:
        return "raw"
    return "right" if is_harmless(data) else "wrong"


@pytest.mark.parametrize("name", RIGHT)
def test_a_graph_cut_anywhere_is_refused_or_whole(name: str) -> None:
    data = serialized(RIGHT[name])
    outcomes = [outcome(data[:length]) for length in range(len(data))]
    assert set(outcomes) == {"refused"}  # the opset comes last


@pytest.mark.parametrize("seed", range(4))
def test_graphs_with_changed_bytes_are_refused_or_harmless(seed: int) -> None:
    random = np.random.default_rng(seed)
    seeds = [serialized(made) for made in RIGHT.values()]
    counts = dict.fromkeys(("refused", "right", "wrong", "raw"), 0)
    for _ in range(500):
        data = bytearray(seeds[random.integers(len(seeds))])
        for _ in range(random.integers(1, 4)):
            place = random.integers(len(data))
            if random.random() < 0.5:
                data[place] ^= 1 << random.integers(8)
            elif random.random() < 0.5:
                data[place] = random.integers(256)
            else:
                start = random.integers(len(data))
                data[place:place] = data[start : start + random.integers(1, 40)]
        counts[outcome(bytes(data))] += 1
    assert counts["wrong"] == counts["raw"] == 0, counts
    assert counts["refused"] > 100
    assert counts["right"] > 10


def test_a_hostile_graph_with_the_right_hash_is_refused(tmp_path: Path) -> None:
    prior = GatedPixelCNN((2, 3, 1), Categorical(3), filters=4, num_layers=1, first_kernel_size=3)
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("onnx",))
    for entry in (path / "onnx").iterdir():
        check_graph(entry)
    file = path / "onnx" / "sample.onnx"
    made = onnx.load(file)
    (endless,) = [one for one in made.graph.node if one.op_type == "Loop"]
    endless.input[0] = ""
    replace_file(path, "onnx/sample.onnx", made.SerializeToString())
    with pytest.raises(BundleError, match=r"sample\.onnx is no graph of an export: it has a Loop without"):
        OnnxSampler(path).sample(1, seed=0, method="loop")
    with pytest.raises(BundleError, match=r"it has a Loop without a constant number of iterations"):
        tfprior.export.verify(path)
