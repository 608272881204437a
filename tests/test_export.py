"""Exported graphs: Keras = SavedModel = ONNX Runtime = client over whole rollouts that carry state."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from c_client import drawn_by_c, refused_by_c
from joining import assert_it_matters_to_none_when_it_joins
from node import assert_draws_as_keras
from runtimes import runtimes_of, save_everywhere
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

import tfprior.export
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.export.arrays import Run
from tfprior.export.client import OnnxSampler
from tfprior.export.functions import functions
from tfprior.export.packing import Packing
from tfprior.export.runtime_table import runtime_table
from tfprior.export.runtimes import RUNTIMES
from tfprior.priors import (
    GatedPixelCNN,
    PixelCNN,
    PixelCNNPP,
    Prior,
    RasterPrior,
)
from tfprior.sampling import sample

pytestmark = pytest.mark.slow("gated rgb map", "pixelcnn rgb vector", "pixelcnn++ rgb")

HEIGHT, WIDTH, LEVELS = 4, 8, 5
BATCHES = (1, 5)


class Exported(NamedTuple):
    prior: Prior
    path: Path
    client: OnnxSampler
    signatures: dict

    def noise(self, batch: int, seed: int = 0) -> np.ndarray:
        shape = (batch, HEIGHT, WIDTH, self.prior.distribution.num_uniforms(self.prior.grid_shape[-1]))
        return np.random.default_rng(seed).random(shape, "float32")

    def condition(self, batch: int) -> np.ndarray | None:
        generator = np.random.default_rng(batch)
        if self.prior.num_classes is not None:
            return generator.integers(0, self.prior.num_classes, batch, "int32")
        if self.prior.condition_shape is not None:
            return generator.standard_normal((batch, *self.prior.condition_shape), "float32")
        return None

    def given(self, batch: int, temperature: float = 1.0) -> dict:
        condition = self.condition(batch)
        known = {} if condition is None else {"condition": condition}
        return {"temperature": np.full(batch, temperature, "float32"), **known}


CATEGORICAL, MIXTURE = Categorical(LEVELS), DiscretizedLogisticMixture(2, LEVELS)
MAPS = {"condition_shape": (HEIGHT, WIDTH, 2)}
MODELS = {
    "gated grey label": (GatedPixelCNN, 1, CATEGORICAL, {"num_layers": 2, "num_classes": 3}),
    "gated rgb map": (GatedPixelCNN, 3, CATEGORICAL, MAPS),
    "pixelcnn rgb vector": (PixelCNN, 3, CATEGORICAL, {"condition_shape": (4,)}),
    "pixelcnn++ grey mixture map": (PixelCNNPP, 1, MIXTURE, {"num_stages": 1, **MAPS}),
    "pixelcnn++ rgb mixture map": (PixelCNNPP, 3, MIXTURE, {"num_stages": 2, **MAPS}),
}


def build(name: str) -> Prior:
    kind, channels, distribution, options = MODELS[name]
    if kind in (PixelCNN, GatedPixelCNN):
        options = {"first_kernel_size": 5, **options}
    options = {"filters": 6, "num_layers": 1, "class_embedding_dim": 3, **options}
    prior = kind((HEIGHT, WIDTH, channels), distribution, **options)
    generator = np.random.default_rng(7)
    for weight in prior.trainable_weights:
        weight.assign(weight.numpy() + 0.3 * generator.standard_normal(weight.shape))
    return prior


@pytest.fixture(scope="module", params=list(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    prior = build(request.param)
    path = save_everywhere(prior, tmp_path_factory.mktemp("bundle") / "prior")
    signatures = dict(tf.saved_model.load(str(path / "saved_model" / "1")).signatures)
    return Exported(prior, path, OnnxSampler(path, threads=1), signatures)


def saved_model_rollout(signatures: dict, noise: np.ndarray, given: dict) -> tuple[np.ndarray, np.ndarray]:
    batch = len(noise)
    flat = noise.reshape(batch, HEIGHT * WIDTH, -1)
    given = {name: tf.constant(value) for name, value in given.items()}
    state = signatures["initial_state"](position=tf.zeros((batch,), tf.int32))["state"]
    previous = tf.zeros((batch, signatures["step"].structured_outputs["value"].shape[-1]), tf.int32)
    values, nats = [], 0.0
    for position in range(HEIGHT * WIDTH):
        out = signatures["step"](
            state=state,
            previous=previous,
            position=tf.fill((batch,), position),
            uniforms=tf.constant(flat[:, position]),
            **given,
        )
        state, previous = out["state_out"], out["value"]
        values.append(previous.numpy())
        nats = nats + out["log_prob"].numpy()
    return np.stack(values, axis=1).reshape(batch, HEIGHT, WIDTH, -1), nats


@pytest.mark.parametrize("batch", BATCHES)
def test_every_runtime_draws_the_same_integers(exported: Exported, batch: int) -> None:
    condition = exported.condition(batch)
    for seed in (0, 1):  # two rollouts one after the other
        noise = exported.noise(batch, seed)
        expected = sample(exported.prior, batch, condition, noise)
        nats = exported.prior.log_prob(expected, condition)
        rollouts = {
            method: exported.client.rollout(noise, condition, 1.0, method)
            for method in exported.client.methods
        }
        rollouts["SavedModel step"] = saved_model_rollout(exported.signatures, noise, exported.given(batch))
        tensors = {"uniforms": noise, **exported.given(batch)}
        out = exported.signatures["sample"](**{name: tf.constant(value) for name, value in tensors.items()})
        rollouts["SavedModel sample"] = (out["values"].numpy(), out["log_prob"].numpy())
        by_row = {"pair"} if isinstance(exported.prior, RasterPrior) else set()
        assert set(rollouts) == {*by_row, "step", "loop", "SavedModel step", "SavedModel sample"}
        for name, (values, log_prob) in rollouts.items():
            np.testing.assert_array_equal(values, expected, err_msg=name)
            np.testing.assert_allclose(log_prob, nats, rtol=1e-5, atol=1e-4, err_msg=name)


def test_temperature_changes_the_draw_but_not_the_likelihood_reported(exported: Exported) -> None:
    noise, condition = exported.noise(5), exported.condition(5)
    cold = sample(exported.prior, 5, condition, noise, temperature=0.5)
    assert (cold != sample(exported.prior, 5, condition, noise)).any()
    for method in exported.client.methods:
        values, log_prob = exported.client.rollout(noise, condition, 0.5, method)
        np.testing.assert_array_equal(values, cold)
        nats = exported.prior.log_prob(cold, condition)
        np.testing.assert_allclose(log_prob, nats, rtol=1e-5, atol=1e-4)


def test_log_prob_is_the_priors(exported: Exported) -> None:
    generator = np.random.default_rng(3)
    values = generator.integers(0, LEVELS, (5, *exported.prior.grid_shape), "int32")
    condition = exported.condition(5)
    expected = exported.prior.log_prob(values, condition)
    np.testing.assert_allclose(exported.client.log_prob(values, condition), expected, rtol=1e-5)
    given = {} if condition is None else {"condition": tf.constant(condition)}
    out = exported.signatures["log_prob"](values=tf.constant(values), **given)
    np.testing.assert_allclose(out["log_prob"].numpy(), expected, rtol=1e-5)


def test_a_batch_may_stand_at_different_pixels(exported: Exported) -> None:
    positions = np.asarray([0, 3, WIDTH, 2 * WIDTH - 1, 3 * WIDTH + 2], "int32")
    batch = len(positions)
    noise = exported.noise(batch).reshape(batch, HEIGHT * WIDTH, -1)
    given = exported.given(batch)
    separate, tensors = [], {"state": [], "previous": []}
    for row, position in enumerate(positions):
        alone = {name: value[row : row + 1] for name, value in given.items()}
        state = exported.client.run("initial_state", {"position": np.zeros(1, "int32")})["state"]
        out = {"value": np.zeros((1, exported.prior.grid_shape[-1]), "int32"), "state_out": state}
        for now in range(position + 1):
            before = out
            out = exported.client.run(
                "step",
                {
                    "state": before["state_out"],
                    "previous": before["value"],
                    "position": np.asarray([now], "int32"),
                    "uniforms": noise[row : row + 1, now],
                    **alone,
                },
            )
        tensors["state"].append(before["state_out"])
        tensors["previous"].append(before["value"])
        separate.append(out)
    together = {
        "state": np.concatenate(tensors["state"]),
        "previous": np.concatenate(tensors["previous"]),
        "position": positions,
        "uniforms": noise[np.arange(batch), positions],
        **given,
    }
    by_tf = exported.signatures["step"](**{name: tf.constant(value) for name, value in together.items()})
    for out in (
        exported.client.run("step", together),
        {name: value.numpy() for name, value in by_tf.items()},
    ):
        np.testing.assert_array_equal(out["value"], np.concatenate([one["value"] for one in separate]))
        for name in ("log_prob", "state_out"):
            expected = np.concatenate([one[name] for one in separate])
            np.testing.assert_allclose(out[name], expected, atol=1e-5)


@pytest.mark.slow("pixelcnn++")
def test_the_client_completes_as_keras_does(exported: Exported) -> None:
    generator = np.random.default_rng(5)
    observed = generator.integers(0, LEVELS, (5, *exported.prior.grid_shape), "int32")
    mask = generator.random((5, HEIGHT, WIDTH)) < 0.5
    noise, condition = exported.noise(5), exported.condition(5)
    expected = sample(exported.prior, 5, condition, noise, observed=observed, mask=mask)
    np.testing.assert_array_equal(expected[~mask], observed[~mask])
    for method in set(exported.client.methods) - {"loop"}:
        values = exported.client.sample(5, condition, noise, observed=observed, mask=mask, method=method)
        np.testing.assert_array_equal(values, expected)


def test_examples_join_whenever_they_come(exported: Exported) -> None:
    prior, client = exported.prior, exported.client
    mask = np.random.default_rng(5).random((4, HEIGHT, WIDTH)) < 0.5
    mask[0], mask[1] = True, False
    values = np.random.default_rng(6).integers(LEVELS, size=(4, *prior.grid_shape))
    for known in ({}, {"observed": values, "mask": mask}):
        assert_it_matters_to_none_when_it_joins(client, exported.condition(4), **known)


def test_rows_come_as_they_are_drawn(exported: Exported) -> None:
    client, given = exported.client, exported.condition(3)
    rows = client.sample_rows(3, given, seed=1, temperature=0.8)
    expected = client.sample(3, given, seed=1, temperature=0.8)
    for y, row in enumerate(rows):
        np.testing.assert_array_equal(row, expected[:, y])
    assert y == HEIGHT - 1


def test_graphs_have_the_manifests_names_shapes_and_no_noise_of_their_own(exported: Exported) -> None:
    manifest = tfprior.export.load_manifest(exported.path)
    size = Packing(exported.prior.state_spec()).size
    pair = {"row", "pixel"} if isinstance(exported.prior, RasterPrior) else set()
    assert set(manifest.functions) == {"initial_state", "step", "sample", "log_prob", *pair}
    step = manifest.functions["step"]
    has_condition = ["condition"] if exported.condition(1) is not None else []
    assert [port.name for port in step.inputs] == [
        *("state", "previous", "position", "uniforms", "temperature"),
        *has_condition,
    ]
    assert [port.name for port in step.outputs] == ["value", "log_prob", "state_out"]
    assert step.inputs[0].shape == ("batch", size)
    for name, function in manifest.functions.items():
        file = exported.path / "onnx" / f"{name}.onnx"
        graph = onnx.load(str(file))
        assert {opset.domain: opset.version for opset in graph.opset_import}[""] == 18
        nodes = list(_nodes(graph.graph))
        assert not [node for node in nodes if "Random" in node.op_type or node.op_type == "Multinomial"]
        assert max(len(value) for node in nodes for value in node.output) <= len("pixel_state_out")
        session = onnxruntime.InferenceSession(str(file))
        signature = exported.signatures[name]
        for ports, found, structured in (
            (function.inputs, session.get_inputs(), signature.structured_input_signature[1]),
            (function.outputs, session.get_outputs(), signature.structured_outputs),
        ):
            assert {port.name for port in ports} == {value.name for value in found} == set(structured)
            types = {"tensor(float)": "float32", "tensor(int32)": "int32"}
            for value in found:
                port = next(port for port in ports if port.name == value.name)
                assert types[value.type] == port.dtype == structured[value.name].dtype.name
                assert tuple(value.shape) == port.shape
                assert tuple(structured[value.name].shape)[1:] == port.sizes


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """All nodes of a graph, its branches and its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def test_the_saved_model_is_servable_and_holds_each_weight_once(exported: Exported) -> None:
    pair = {"row", "pixel"} if isinstance(exported.prior, RasterPrior) else set()
    functions = {"serving_default", "step", "initial_state", "sample", "log_prob"}
    assert set(exported.signatures) == functions | pair
    data = sum(file.stat().st_size for file in (exported.path / "saved_model/1/variables").glob("*.data*"))
    weights = sum(weight.numpy().nbytes for weight in exported.prior.for_sampling().weights)
    assert weights <= data < 1.2 * weights + 8_000


def test_serving_warms_up_with_every_function(exported: Exported) -> None:
    file = exported.path / "saved_model/1/assets.extra/tf_serving_warmup_requests"
    records = tf.data.TFRecordDataset(str(file))
    for record, function in zip(records, functions(exported.prior), strict=True):
        request = PredictionLog.FromString(record.numpy()).predict_log.request
        assert request.model_spec.signature_name == function.name
        given = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        assert given.keys() == {port.name for port in function.inputs}
        for port in function.inputs:
            value = given[port.name]
            assert (value.shape, value.dtype) == ((1, *port.shape), port.dtype)
            np.testing.assert_array_equal(value, port.name == "temperature")
        exported.signatures[function.name](**{name: tf.constant(value) for name, value in given.items()})


@pytest.mark.parametrize("exported", ["gated grey label"], indirect=True)  # what `save` did for each
def test_verify_replays_every_format(exported: Exported) -> None:
    found = set(tfprior.export.verify(exported.path, runtimes="all"))
    methods = ("pair", "step", "loop", "log_prob")
    assert found == {"files", *(f"{runtime} {method}" for runtime in RUNTIMES for method in methods)}
    rows = runtime_table(exported.path)
    assert [row.runtime for row in rows] == ["ONNX Runtime", "TensorFlow", "LiteRT", "OpenVINO"]
    for row in rows:
        assert (row.fault, row.integers, row.method) == ("", 3 * 2 * HEIGHT * WIDTH, "loop")
        assert row.nats_error < 1e-5
        assert min(row.microseconds) > 0


BLOCKED = "tensorflow keras tf_keras tensorflow_probability jax onnx tf2onnx rich typer PIL lazy_loader"
CLIENT = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {BLOCKED.split()!r}:
            raise ImportError(f"{{name}} is not here")
sys.meta_path.insert(0, Blocker())
import numpy as np
from tfprior.export.client import OnnxSampler
path, arrays, out = sys.argv[1:]
given = np.load(arrays)
condition = given["condition"] if "condition" in given else None
sampler = OnnxSampler(path)
np.save(out, sampler.sample(len(given["noise"]), condition, given["noise"]))
assert not set(sys.modules) & {set(BLOCKED.split())!r}
"""


def test_a_process_without_tensorflow_and_keras_draws_the_same(exported: Exported, tmp_path: Path) -> None:
    noise, condition = exported.noise(3), exported.condition(3)
    arrays = {"noise": noise} if condition is None else {"noise": noise, "condition": condition}
    np.savez(tmp_path / "arrays.npz", **arrays)
    command = [
        sys.executable,
        "-c",
        CLIENT,
        str(exported.path),
        str(tmp_path / "arrays.npz"),
        str(tmp_path / "out.npy"),
    ]
    subprocess.run(command, check=True, timeout=60)
    expected = sample(exported.prior, 3, condition, noise)
    np.testing.assert_array_equal(np.load(tmp_path / "out.npy"), expected)


def test_integers_out_of_range_are_the_nearest_everywhere(exported: Exported) -> None:
    for runtime in runtimes_of(exported.prior):
        check_integers_out_of_range(exported, RUNTIMES[runtime].open(exported.path, exported.client.manifest))


def check_integers_out_of_range(exported: Exported, run: Run) -> None:
    given, noise = exported.given(3), exported.noise(3)
    nearest = dict(given)
    if exported.prior.num_classes is not None:
        given["condition"], nearest["condition"] = np.asarray([[-7, 99, 1], [0, 2, 1]], "int32")
    drawn, expected = (run("sample", {**each, "uniforms": noise})["values"] for each in (given, nearest))
    np.testing.assert_array_equal(drawn, expected)
    outside = drawn.copy()
    outside[0, 1, 2, 0], outside[2, 0, 0, -1] = LEVELS, -1
    right, wrong = (run("log_prob", {**given, "values": values})["log_prob"] for values in (drawn, outside))
    assert np.isfinite(right).all()
    assert np.isnan(wrong).tolist() == [True, False, True]
    assert wrong[1] == right[1]


@pytest.mark.slow("pixelcnn++")
def test_javascript_draws_the_same(exported: Exported) -> None:
    assert_draws_as_keras(exported.path, exported.prior, exported.condition(5))


@pytest.mark.slow("pixelcnn++")
def test_c_draws_the_same(exported: Exported, tmp_path: Path) -> None:
    condition = exported.condition(3)
    given = []
    if condition is not None:
        condition.tofile(tmp_path / "condition")
        given = [tmp_path / "condition"]
    expected = sample(exported.prior, 3, condition, seed=2**40 + 1, temperature=0.8)
    drawn = drawn_by_c(exported.path, 3, 2**40 + 1, 0.8, *given)
    np.testing.assert_array_equal(drawn, expected.reshape(3, -1))
    for arguments, fault in {
        (1, 0): "a condition is for conditional priors",
        ("1x", 0): "the count is a positive integer: 1x",
        (1, -1): "the seed is an integer from 0: -1",
        (1, 2**64): "the seed is an integer from 0: 18446744073709551616",
        (1, 0, "warm"): "the temperature is a number: warm",
        (1, 0, 0): "the temperature is above 0: 0",
        (1, 0, 1, 1, "nan"): "guidance is a number: nan",
        (1, 0, 1, 1, "inf"): "guidance is a number: inf",
    }.items():
        assert fault in refused_by_c(exported.path, *arguments)
