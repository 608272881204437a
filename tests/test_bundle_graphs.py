"""Graphs that are not what the manifest says, with hashes that are right: refused, or within its levels."""

import math
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bundle_files import replace_file
from onnx import TensorProto, helper, numpy_helper
from small_bundles import GRID, LEVELS
from test_generator import images

from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.manifest_file import load_manifest


@pytest.fixture
def bundle(prior_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prior_bundle, tmp_path / "prior"))


@pytest.fixture
def generator(generator_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(generator_bundle, tmp_path / "images"))


def graph(bundle: Path, function: str, results: dict[str, np.ndarray], **shapes: list) -> bytes:
    """A graph with a function's ports that repeats a result for each example, whatever comes in."""
    described = load_manifest(bundle).functions[function]
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    inputs, outputs = (
        [
            helper.make_tensor_value_info(
                port.name, kinds[port.dtype], shapes.get(port.name, list(port.shape))
            )
            for port in ports
        ]
        for ports in (described.inputs, described.outputs)
    )
    first = described.inputs[0].name
    constants = {"most": np.asarray(np.inf, "float32")}
    # A factor of one that no inference of shapes sees through.
    nodes = [
        helper.make_node("Shape", [first], ["batch"], start=0, end=1),
        helper.make_node("Cast", [first], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMin", ["numbers"], ["least"], keepdims=0),
        helper.make_node("Less", ["least", "most"], ["finite"]),
        helper.make_node("Cast", ["finite"], ["one"], to=TensorProto.INT64),
    ]
    for port in described.outputs:
        name, result = port.name, results.get(port.name, np.zeros(port.sizes)).astype(port.dtype)
        constants |= {f"{name}_result": result, f"{name}_sizes": np.asarray(result.shape, "int64")}
        nodes += [
            helper.make_node("Concat", ["batch", f"{name}_sizes"], [f"{name}_known"], axis=0),
            helper.make_node("Mul", [f"{name}_known", "one"], [f"{name}_shape"]),
            helper.make_node("Expand", [f"{name}_result", f"{name}_known"], [f"{name}_repeated"]),
            helper.make_node("Reshape", [f"{name}_repeated", f"{name}_shape"], [name]),
        ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_model(
        helper.make_graph(nodes, function, inputs, outputs, initializers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    onnx.checker.check_model(made)
    return made.SerializeToString()


def replace_graph(bundle: Path, function: str, results: dict[str, np.ndarray], **shapes: list) -> None:
    replace_file(bundle, f"onnx/{function}.onnx", graph(bundle, function, results, **shapes))


LABEL = np.asarray([1])


@pytest.mark.parametrize("method", ["pair", "step", "loop"])
@pytest.mark.parametrize("value", [-1, LEVELS])
def test_integers_outside_the_levels_are_refused(bundle: Path, method: str, value: int) -> None:
    function, name = {"pair": ("pixel", "value"), "step": ("step", "value"), "loop": ("sample", "values")}[
        method
    ]
    shape = GRID if method == "loop" else (1,)
    replace_graph(bundle, function, {name: np.full(shape, value)})
    expected = rf"'{function}' gives integers in \[{value}, {value}\]; expected \[0, 3\]"
    with pytest.raises(BundleError, match=expected):
        OnnxSampler(bundle).sample(1, LABEL, method=method)


@pytest.mark.parametrize("method", ["pair", "step", "loop"])
@pytest.mark.parametrize("nats", [math.nan, -math.inf])
def test_a_model_that_gives_no_numbers_is_refused(bundle: Path, method: str, nats: float) -> None:
    function = {"pair": "pixel", "step": "step", "loop": "sample"}[method]
    replace_graph(bundle, function, {"log_prob": np.asarray(nats)})
    with pytest.raises(BundleError, match=f"'{function}' gives log-likelihoods that are NaN .* has diverged"):
        OnnxSampler(bundle).sample(1, LABEL, method=method)


@pytest.mark.parametrize("method", ["pair", "step", "loop", "log_prob"])
def test_a_diverged_model_draws_no_black_images(bundle: Path, method: str) -> None:
    """NaN weights in the graphs themselves."""
    for file in (bundle / "onnx").glob("*.onnx"):
        model = onnx.load(str(file))
        for weight in model.graph.initializer:
            if weight.data_type == TensorProto.FLOAT and np.prod(weight.dims) > 4:
                array = np.full(tuple(weight.dims), np.nan, "float32")
                weight.CopyFrom(numpy_helper.from_array(array, weight.name))
        replace_file(bundle, f"onnx/{file.name}", model.SerializeToString())
    sampler = OnnxSampler(bundle)

    def run() -> None:
        if method == "log_prob":
            sampler.log_prob(np.zeros((1, *GRID), "int32"), LABEL)
        else:
            sampler.sample(1, LABEL, method=method)

    with pytest.raises(BundleError, match="log-likelihoods that are NaN or infinite: its model has diverged"):
        run()


def test_arrays_of_another_shape_are_refused(bundle: Path) -> None:
    replace_graph(bundle, "sample", {"values": np.zeros((4, 3, 1))}, values=["batch", "h", "w", 1])
    with pytest.raises(
        BundleError, match=r"'sample' gives values of shape \(1, 4, 3, 1\); expected \(1, 3, 4, 1\)"
    ):
        OnnxSampler(bundle).sample(1, LABEL, method="loop")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (
            {"uniforms": ["batch", 4, 4, 1]},
            r"inputs .* uniforms tensor\(float\) \('batch', 4, 4, 1\); expected ",
        ),
        (
            {"values": ["batch", 4, 4, 1]},
            r"outputs .* values tensor\(int32\) \('batch', 4, 4, 1\); expected ",
        ),
        ({"uniforms": ["batch", 3, 4]}, r"inputs .* uniforms tensor\(float\) \('batch', 3, 4\); expected "),
        ({"values": [2, 3, 4, 1]}, r"outputs .* values tensor\(int32\) \(2, 3, 4, 1\); expected "),
    ],
)
def test_a_graph_of_other_ports_is_refused(bundle: Path, shapes: dict[str, list], message: str) -> None:
    replace_graph(bundle, "sample", {}, **shapes)
    with pytest.raises(BundleError, match=message):
        OnnxSampler(bundle).sample(1, LABEL, method="loop")


def test_a_graph_in_the_place_of_another_is_refused(bundle: Path) -> None:
    replace_file(bundle, "onnx/sample.onnx", (bundle / "onnx/log_prob.onnx").read_bytes())
    with pytest.raises(
        BundleError, match=r"sample.onnx has the inputs condition .*, values .*; expected condition"
    ):
        OnnxSampler(bundle).sample(1, LABEL, method="loop")


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x08"])
def test_what_onnx_runtime_does_not_load_is_refused(bundle: Path, content: bytes) -> None:
    replace_file(bundle, "onnx/sample.onnx", content)
    with pytest.raises(
        BundleError, match=r"ONNX Runtime does not load .*sample\.onnx \(|sample\.onnx is no graph"
    ) as error:
        OnnxSampler(bundle).sample(1, LABEL, method="loop")
    assert "\n" not in str(error.value)


def test_a_name_that_is_no_text_is_refused(bundle: Path) -> None:
    content = graph(bundle, "sample", {}).replace(b"temperature", b"temper\x83ture")
    replace_file(bundle, "onnx/sample.onnx", content)
    with pytest.raises(BundleError, match=r"sample\.onnx"):
        OnnxSampler(bundle).sample(1, LABEL, method="loop")


def test_an_error_while_running_is_a_bundle_error(bundle: Path) -> None:
    replace_graph(bundle, "sample", {})
    model = onnx.load(str(bundle / "onnx/sample.onnx"))
    (reshape,) = (node for node in model.graph.node if node.output == ["log_prob"])
    reshape.input[1] = "values_shape"  # twelve numbers of one
    replace_file(bundle, "onnx/sample.onnx", model.SerializeToString())
    sampler = OnnxSampler(bundle)
    with pytest.raises(BundleError, match="sample") as error:
        sampler.sample(1, LABEL, method="loop")
    assert "\n" not in str(error.value)


def test_a_missing_input_is_named(prior_bundle: Path) -> None:
    with pytest.raises(ValueError, match="'log_prob' takes values, condition; got no 'condition'"):
        OnnxSampler(prior_bundle).run("log_prob", {"values": np.zeros((1, *GRID), "int32")})


def test_onnx_runtime_has_no_class_of_its_own_errors() -> None:
    """Why every exception of a session becomes a BundleError: once there is a base class, catch that."""
    found = onnxruntime.capi.onnxruntime_pybind11_state
    errors = {
        found.Fail,
        found.InvalidArgument,
        found.InvalidGraph,
        found.InvalidProtobuf,
        found.RuntimeException,
    }
    assert {error.__base__ for error in errors} == {Exception}


@pytest.mark.parametrize("pixel", [math.nan, math.inf, -1.0, 16.0])
def test_images_outside_the_levels_are_refused(generator: Path, pixel: float) -> None:
    expected = np.zeros((8, 4, 1))
    expected[3, 2] = pixel
    replace_graph(generator, "decode", {"images": expected})
    with pytest.raises(
        BundleError, match=r"'decode' gives images in \[.*\]; expected \[0, 15\]: its model has"
    ):
        OnnxGenerator(generator).sample(1)


def test_codes_outside_the_codebook_are_refused(generator: Path) -> None:
    replace_graph(generator, "encode", {"codes": np.full((4, 2, 1), 4)})
    with pytest.raises(BundleError, match=r"'encode' gives integers in \[4, 4\]; expected \[0, 3\]"):
        OnnxGenerator(generator).encode(images(1))


def test_everything_that_generate_gives_is_checked(generator: Path) -> None:
    noise = np.zeros((1, 4, 2, 1), "float32")
    for results, message in (
        ({"codes": np.full((4, 2, 1), -1)}, r"'generate' gives integers in \[-1, -1\]"),
        ({"log_prob": np.asarray(np.nan)}, "'generate' gives log-likelihoods that are NaN"),
        ({"images": np.full((8, 4, 1), np.nan)}, r"'generate' gives images in \[nan, nan\]"),
    ):
        replace_graph(generator, "generate", results)
        with pytest.raises(BundleError, match=message):
            OnnxGenerator(generator).generate(noise)


def test_a_bound_that_is_no_number_is_refused(generator: Path) -> None:
    replace_graph(generator, "log_prob_bound", {"log_prob": np.asarray(np.nan)})
    with pytest.raises(BundleError, match="'log_prob_bound' gives log-likelihoods that are NaN"):
        OnnxGenerator(generator).log_prob(images(1))
