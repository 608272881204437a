"""The converter corrected and made quick: every patch is needed, changes nothing else, and goes again."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from keras import ops
from onnx import numpy_helper
from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer

from tfprior.export import conversion, converter_corrections, converter_speed
from tfprior.export.onnx import ConversionError, write_onnx
from tfprior.export.patching import Patch, in_force
from tfprior.export.saved_model import concrete_function
from tfprior.export.signatures import Function, Port
from tfprior.export.trip_counts import add_trip_counts

MENDED = "tf2onnx mended this: drop the patch"
KERNEL = np.random.default_rng(0).standard_normal((1, 1, 6, 4)).astype("float32")
Call = Callable[[Any], Any]


def converted(
    call: Call, shape: tuple[int, ...], patches: Iterable[Patch] = (), handlers: Iterable[str] = ()
) -> tuple[onnx.ModelProto, list[str]]:
    """What tf2onnx makes of a function of one input x with these corrections alone, and what it logs."""
    signature = [tf.TensorSpec((None, *shape), "float32", name="x")]
    given = {name: (converter_corrections.HANDLERS[name], []) for name in handlers}
    with conversion._collected_complaints() as complaints, in_force(patches):
        model, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=signature, autograph=False),
            input_signature=signature,
            opset=conversion.OPSET,
            custom_op_handlers=given,
        )
    return model, complaints


def run(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def function_of(call: Call, shape: tuple[int, ...], out: tuple[int, ...] | None = None) -> Function:
    x, y = Port("x", "float32", shape, "any"), Port("y", "float32", out or shape, "what becomes of it")
    return Function("made", lambda tensors: {"y": call(tensors["x"])}, (x,), (y,))


def written(call: Call, shape: tuple[int, ...], path: Path, out: tuple[int, ...] | None = None) -> Path:
    function = function_of(call, shape, out)
    write_onnx(function, concrete_function(function), path, {})
    return path


def correction(name: str) -> Patch:
    (patch,) = [patch for patch in converter_corrections.PATCHES if patch.target.endswith(name)]
    return patch


# What is wrong without the corrections.


def test_where_would_leak_the_nan_of_the_other_branch() -> None:
    def call(x: Any) -> Any:
        return tf.where(x > 0, tf.math.log(x), 0.0)

    x = np.asarray([[-1.0, 1.0]], "float32")
    assert np.isnan(run(converted(call, (2,))[0], x)).any(), MENDED
    np.testing.assert_array_equal(run(converted(call, (2,), handlers=["SelectV2"])[0], x), [[0.0, 0.0]])


@pytest.mark.parametrize("operator", ["Expm1", "Log1p"])
def test_operators_of_small_numbers_would_have_no_converter(operator: str) -> None:
    call = getattr(tf.math, operator.lower())
    _, complaints = converted(call, (12,))
    assert any(f"{operator}] is not supported" in complaint for complaint in complaints), MENDED
    model, complaints = converted(call, (12,), handlers=[operator])
    assert complaints == []
    numbers = np.array([[0, 1e-30, 1e-8, -1e-8, 1e-4, -1e-4, 0.3, -0.3, -0.9, 1, 5, 20]], "float32")
    expected = getattr(np, operator.lower())(numbers.astype("float64"))
    np.testing.assert_allclose(run(model, numbers), expected, rtol=2e-6, atol=0)


def test_an_operator_that_is_left_out_would_only_be_logged(tmp_path: Path) -> None:
    model, complaints = converted(tf.math.erfc, (3,))
    assert "Erfc" in {node.op_type for node in model.graph.node}, MENDED
    assert complaints
    with pytest.raises(ConversionError, match=r"tf2onnx could not convert 'made': .*Erfc"):
        written(tf.math.erfc, (3,), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_fails_would_only_be_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("no")

    monkeypatch.setattr(IdentityOptimizer, "_optimize", fail)
    try:
        converted(tf.abs, (3,))
    except ZeroDivisionError:
        pytest.fail(MENDED)
    with pytest.raises(ZeroDivisionError):
        converted(tf.abs, (3,), [correction("optimize_graph")])


def test_the_square_of_a_transposed_map_would_have_the_wrong_shape() -> None:
    def normalized(x: Any) -> Any:  # as codes are compared by their cosine
        y = tf.nn.conv2d(x, KERNEL, 1, "SAME")
        return y * tf.math.rsqrt(tf.reduce_sum(y * y, axis=-1, keepdims=True))

    x = np.random.default_rng(1).standard_normal((3, 1, 2, 6)).astype("float32")
    faulty, _ = converted(normalized, (1, 2, 6))
    message = ""
    try:
        run(faulty, x)
    except onnx.shape_inference.InferenceError as error:
        message = str(error)
    assert "Incompatible dimensions" in message, MENDED
    model, _ = converted(normalized, (1, 2, 6), [correction("_mul_handler")])
    np.testing.assert_allclose(run(model, x), normalized(x).numpy(), rtol=1e-5, atol=1e-6)


def test_branches_would_not_know_the_shapes_of_their_weights() -> None:
    kernel = tf.Variable(KERNEL)

    def call(x: Any) -> Any:
        convolved = lambda: tf.nn.conv2d(x, kernel, 1, "SAME")  # noqa: E731
        return tf.cond(tf.reduce_sum(x) > 0, convolved, lambda: x[..., :4])

    _, complaints = converted(call, (2, 3, 6))
    assert any("Failed to convert node 'cond/Conv2D'" in complaint for complaint in complaints), MENDED
    model, complaints = converted(call, (2, 3, 6), [correction("resolve_functions")])
    assert complaints == []
    for x in (np.ones((2, 2, 3, 6), "float32"), -np.ones((2, 2, 3, 6), "float32")):
        np.testing.assert_allclose(run(model, x), tf.function(call, autograph=False)(x), rtol=1e-5, atol=1e-6)


def test_a_factor_of_one_branch_would_be_of_all() -> None:
    def call(x: Any) -> Any:
        y = tf.nn.conv2d(x, KERNEL, 1, "SAME")

        def inner() -> Any:
            return tf.cond(tf.reduce_sum(x) > 9, lambda: tf.tanh(y), lambda: -y)

        return tf.cond(tf.reduce_sum(x) > 0, inner, lambda: y * 2.0)

    apart = [correction("resolve_functions")]
    faulty, _ = converted(call, (2, 3, 6), apart)
    model, complaints = converted(call, (2, 3, 6), [*apart, correction("_mul_handler")])
    assert complaints == []
    wrong = 0
    for scale in (1.0, 0.1, -1.0):  # each branch once
        x = np.full((1, 2, 3, 6), scale, "float32")
        np.testing.assert_allclose(run(model, x), call(x), rtol=1e-5, atol=1e-6)
        wrong += not np.allclose(run(faulty, x), call(x), rtol=1e-3)
    assert wrong, MENDED


def test_branches_in_branches_give_the_same_numbers(tmp_path: Path) -> None:
    """As a step of PixelCNN++ with three stages, which runs the lowest in every fourth row alone."""
    kernel = tf.Variable(KERNEL)

    def call(x: Any) -> Any:
        y = tf.nn.conv2d(x, kernel, 1, "SAME")

        def inner() -> Any:
            return tf.cond(tf.reduce_sum(x) > 9, lambda: tf.nn.conv2d(-x, kernel, 1, "SAME") * y, lambda: -y)

        return tf.cond(tf.reduce_sum(x) > 0, inner, lambda: tf.tanh(y))

    file = written(call, (2, 3, 6), tmp_path / "x.onnx", (2, 3, 4))
    for scale in (1.0, 0.1, -1.0):  # each branch once
        x = np.full((1, 2, 3, 6), scale, "float32")
        np.testing.assert_allclose(run(onnx.load(file), x), call(x), rtol=1e-5, atol=1e-6)


# What must not change with what is quick.


def shape_of(graph: onnx.GraphProto, outer: dict[str, Any] | None = None, depth: int = 0) -> Any:
    """What a graph computes, whatever its values are called and in which order they stand."""
    values: dict[str, Any] = {**(outer or {}), "": ""}
    values |= {value.name: ("input", depth, index) for index, value in enumerate(graph.input)}
    for tensor in graph.initializer:
        array = numpy_helper.to_array(tensor)
        values[tensor.name] = array.dtype.str, array.shape, array.tobytes()
    nodes = {name: node for node in graph.node for name in node.output}

    def value_of(name: str) -> Any:
        if name not in values:
            node = nodes[name]
            for used in (*node.input, *names_in(node)):
                if used in nodes:
                    value_of(used)
            parts = [values[used] for used in node.input]
            attributes = sorted((part.name, attribute_of(part)) for part in node.attribute)
            made = hash((node.op_type, tuple(parts), tuple(attributes)))
            values.update({output: (made, index) for index, output in enumerate(node.output)})
        return values[name]

    def attribute_of(part: onnx.AttributeProto) -> Any:
        if part.HasField("g"):
            return shape_of(part.g, values, depth + 1)
        return part.SerializeToString()

    return hash(tuple(value_of(value.name) for value in graph.output))


def names_in(node: onnx.NodeProto) -> list[str]:
    """What the graphs inside a node take from outside, and more."""
    graphs = [part.g for part in node.attribute if part.HasField("g")]
    inner = [one for graph in graphs for one in graph.node]
    own = [value.name for graph in graphs for value in graph.output]
    return [*own, *(name for one in inner for name in (*one.input, *names_in(one)))]


def network(x: Any) -> Any:
    """Something of everything: convolutions, duplicates, branches, a loop, constants to fold."""
    y = tf.nn.relu(tf.nn.conv2d(x, KERNEL, 1, "SAME")) * (np.float32(2) + tf.constant(1.0))
    y = y + tf.nn.relu(tf.nn.conv2d(x, KERNEL, 1, "SAME")) * 3.0
    y = tf.cond(tf.reduce_sum(x) > 0, lambda: y * 2.0, lambda: tf.identity(y) - 1.0)
    y = y + tf.cond(tf.reduce_sum(x) > 0, lambda: y * 3.0, lambda: y - 2.0)
    return tf.while_loop(lambda i, _: i < 3, lambda i, z: (i + 1, z + tf.tanh(y) * 0.5), (0, y))[1]


@pytest.fixture(scope="module")
def plain() -> onnx.ModelProto:
    return converted(network, (2, 3, 6), converter_corrections.PATCHES)[0]


@pytest.mark.parametrize("patch", converter_speed.PATCHES, ids=lambda patch: patch.target.split(".")[-1])
def test_what_is_quicker_gives_the_same_graph(patch: Patch, plain: onnx.ModelProto) -> None:
    model, _ = converted(network, (2, 3, 6), [*converter_corrections.PATCHES, patch])
    assert shape_of(model.graph) == shape_of(plain.graph)


def test_all_that_is_quicker_gives_the_same_graph(plain: onnx.ModelProto) -> None:
    model, _ = converted(network, (2, 3, 6), conversion.PATCHES)
    assert shape_of(model.graph) == shape_of(plain.graph)
    x = np.random.default_rng(1).standard_normal((2, 2, 3, 6)).astype("float32")
    for sign in (1, -1):
        expected = tf.function(network, autograph=False)(sign * x)
        np.testing.assert_allclose(run(model, sign * x), expected, rtol=1e-5, atol=1e-5)


def test_another_graph_has_another_shape(plain: onnx.ModelProto) -> None:
    model, _ = converted(lambda x: network(x) * 1.5, (2, 3, 6), conversion.PATCHES)
    assert shape_of(model.graph) != shape_of(plain.graph)


# In force during a conversion only.


def targets() -> list[Any]:
    found: list[Any] = []
    for patch in conversion.PATCHES:
        seen = Patch(patch.target, "", lambda original: found.append(original) or original)
        with seen.in_force():
            pass
    return found


def test_patches_are_put_back_after_an_error() -> None:
    before, changed = targets(), []

    def fail() -> None:
        with in_force(conversion.PATCHES):
            changed.extend(targets())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(one is not other for one, other in zip(before, changed, strict=True))
    assert all(one is other for one, other in zip(before, targets(), strict=True))


def test_another_version_of_the_converter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf2onnx, "__version__", "1.18.2")
    function = function_of(tf.abs, (3,))
    with pytest.raises(
        ConversionError, match=r"tf2onnx 1\.18\.2 is installed .* pip install 'tf2onnx~=1\.17\.0'"
    ):
        conversion.convert(function, concrete_function(function))


def test_threads_take_turns(tmp_path: Path) -> None:
    functions = {
        f"f{factor}": function_of(lambda x, factor=factor: x * factor, (3,)) for factor in range(2, 6)
    }
    graphs = {name: concrete_function(function) for name, function in functions.items()}
    before, failed = targets(), []

    def export(name: str) -> None:
        try:
            write_onnx(functions[name], graphs[name], tmp_path / name, {})
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=export, args=(name,)) for name in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert all(one is other for one, other in zip(before, targets(), strict=True))
    for name in functions:
        np.testing.assert_array_equal(
            run(onnx.load(tmp_path / name), np.ones((1, 3), "float32")), int(name[1:])
        )


# Graphs as they are written.


def test_the_same_function_gives_the_same_file(tmp_path: Path) -> None:
    first, second = (written(network, (2, 3, 6), tmp_path / name, (2, 3, 4)) for name in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_graphs_say_what_they_are(tmp_path: Path) -> None:
    model = onnx.load(written(network, (2, 3, 6), tmp_path / "x.onnx", (2, 3, 4)))
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    assert model.graph.name == "made"
    assert [(value.name, value.doc_string) for value in model.graph.input] == [("x", "any")]
    assert [(value.name, value.doc_string) for value in model.graph.output] == [("y", "what becomes of it")]
    names = [node.name for node in model.graph.node]
    assert len(set(names)) == len(names)
    assert all(node.name.split("_")[0] == node.op_type for node in model.graph.node)


@pytest.mark.parametrize(
    ("loop", "count"),
    [
        (lambda x: ops.fori_loop(0, 5, lambda i, y: y * 2.0, x), 5),
        (lambda x: ops.fori_loop(2, 5, lambda i, y: y * 2.0, x), 3),
        (
            lambda x: ops.while_loop(
                lambda y: ops.any(y < 9), lambda y: (y * 2.0,), (x,), maximum_iterations=7
            )[0],
            7,
        ),
        (
            lambda x: tf.while_loop(
                lambda i, y: (i < 4) & tf.reduce_any(y < 9), lambda i, y: (i + 1, y * 2), (1, x)
            )[1],
            3,
        ),
    ],
)
def test_loops_say_how_often_they_run_at_most(loop: Call, count: int, tmp_path: Path) -> None:
    model = onnx.load(written(loop, (2,), tmp_path / "x.onnx"))
    (node,) = [node for node in model.graph.node if node.op_type == "Loop"]
    (trips,) = [tensor for tensor in model.graph.initializer if tensor.name == node.input[0]]
    assert numpy_helper.to_array(trips) == count
    for x in (np.full((1, 2), 1, "float32"), np.full((1, 2), 5, "float32")):
        np.testing.assert_array_equal(run(model, x), keras.ops.convert_to_numpy(loop(tf.constant(x))))


@pytest.mark.parametrize(
    "loop",
    [
        lambda x: tf.while_loop(lambda y: tf.reduce_any(y < 9), lambda y: y * 2, (x,))[0],
        lambda x: tf.while_loop(lambda i, y: i < 9, lambda i, y: (i * 2, y * 2), (1, x))[1],
        lambda x: tf.while_loop(lambda i, y: i < tf.size(y), lambda i, y: (i + 1, y * 2), (0, x))[1],
        lambda x: tf.while_loop(
            lambda i, y: (i < 9) | tf.reduce_any(y < 9), lambda i, y: (i + 1, y * 2), (0, x)
        )[1],
    ],
    ids=["no counter", "not counting by one", "no constant limit", "either"],
)
def test_a_loop_without_an_end_that_can_be_read_is_refused(loop: Call, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=r"How often the loop '.*' of 'made' runs cannot be read"):
        written(loop, (2,), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
    assert add_trip_counts(converted(tf.abs, (2,))[0].graph) == []


def test_an_operator_that_bundles_do_not_hold_stops_the_export(tmp_path: Path) -> None:
    with pytest.raises(
        ConversionError, match=r"'made' would be refused when it is opened\. .* operator 'Sin'"
    ):
        written(tf.sin, (2,), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []
