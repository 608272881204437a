"""What loops carry unchanged is read from around them, and graphs compute what they computed."""

import copy

import numpy as np
import onnx
import onnx.compose
import pytest
from made_graphs import YES, body, constant, loop, model, node
from onnxruntime import InferenceSession

from tfprior.export.loop_invariants import hoist_loop_invariants
from tfprior.export.onnx_graphs import with_subgraphs

N, TWO = constant("n", 3), constant("two", 2.0, "float32")
DOUBLED = node("Mul", ["z", "u"], ["w"])  # z ← z · u
HANDED_ON = node("Identity", ["u"], ["v"])  # u ← u


def carrying(*nodes: onnx.NodeProto, out: tuple[str, ...]) -> onnx.NodeProto:
    """A loop of z and u, which begin as x and two."""
    return loop("n", body(*nodes, names=("z", "u"), out=out), ("x", "two"))


def nested() -> onnx.NodeProto:
    """The outer loop changes u only where the inner one does, which does not."""
    inner = onnx.compose.add_prefix_graph(
        body(DOUBLED, HANDED_ON, names=("z", "u"), out=("w", "v")), "inner_"
    )
    again = node("Loop", ["n", "yes", "z", "u"], ["w", "v"], body=inner)
    return carrying(again, out=("w", "v"))


@pytest.mark.parametrize(
    ("made", "carried"),
    [
        (carrying(DOUBLED, HANDED_ON, out=("w", "v")), [1]),
        (carrying(DOUBLED, out=("w", "u")), [1]),  # given back without a node between
        (carrying(DOUBLED, HANDED_ON, out=("u", "v")), [1]),  # z becomes what never changes
        (carrying(DOUBLED, node("Neg", ["u"], ["v"]), out=("w", "v")), [2]),
        (carrying(out=("u", "z")), [2]),  # they change places
        (nested(), [1, 1]),
    ],
)
def test_loops_read_what_they_do_not_change(made: onnx.NodeProto, carried: list[int]) -> None:
    whole = model(made, constants=(N, YES, TWO))
    before = copy.deepcopy(whole)
    hoist_loop_invariants(whole.graph)
    loops = [each for part in with_subgraphs(whole.graph) for each in part.node if each.op_type == "Loop"]
    assert [len(each.input) - 2 for each in loops] == carried
    x = {"x": np.asarray([[1.0, -2.0, 0.5]], "float32")}
    results = [InferenceSession(each.SerializeToString()).run(None, x)[0] for each in (before, whole)]
    np.testing.assert_array_equal(*results)


def test_what_is_read_after_the_loop_is_what_it_was_given() -> None:
    after = node("Add", ["made", "made_1"], ["y"])
    inner = body(DOUBLED, HANDED_ON, names=("z", "u"), out=("w", "v"))
    whole = model(loop("n", inner, ("x", "two"), output="made"), after, constants=(N, YES, TWO))
    hoist_loop_invariants(whole.graph)
    x = {"x": np.asarray([[1.0, 2.0, 3.0]], "float32")}
    (found,) = InferenceSession(whole.SerializeToString()).run(None, x)
    np.testing.assert_array_equal(found, x["x"] * 8 + 2)
