"""A bundle of an encoder–decoder: the source is encoded once, and every runtime draws the same sequences."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from bundle_files import edit_manifest, replace_file
from catalogue import condition_of, prior, values_of
from drawing import noise
from joining import assert_it_matters_to_none_when_it_joins
from node import assert_draws_as_keras
from runtimes import save_everywhere

import tfprior.export
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxSampler
from tfprior.priors import EncoderDecoderTransformer
from tfprior.sampling import sample

SEQUENCE, END = (1, 5, 1), 3
MODEL = prior(EncoderDecoderTransformer, SEQUENCE, num_layers=1, end_value=END, source_padding=4)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_everywhere(MODEL, tmp_path_factory.mktemp("bundle") / "prior")


@pytest.fixture
def bundle(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "prior"))


def by_signatures(path: Path, uniforms: np.ndarray, source: np.ndarray) -> np.ndarray:
    """The loop of a caller of the SavedModel, who encodes the source once."""
    run = tf.saved_model.load(str(path / "saved_model" / "1")).signatures
    batch = len(uniforms)
    given = run["encode_source"](condition=tf.constant(source))
    empty = tf.zeros((batch, 2, 0, 4))
    past = {f"past_key_values_0_{part}": empty for part in ("key", "value")}
    previous, values = tf.zeros((batch, 1), "int32"), []
    for position in range(SEQUENCE[1]):
        out = run["step"](
            previous=previous,
            position=tf.fill((batch,), position),
            uniforms=tf.constant(uniforms[:, 0, position]),
            temperature=tf.ones((batch,)),
            **past,
            **given,
        )
        past = {name: out[name.replace("past_key_values", "present")] for name in past}
        previous = out["value"]
        values.append(previous)
    return np.stack(values, 1)[:, None]


@pytest.mark.parametrize("batch", [1, 5])
def test_every_runtime_draws_the_same_sequences(exported: Path, batch: int) -> None:
    uniforms, source = noise(MODEL, batch, seed=2), condition_of(MODEL, batch)
    expected = sample(MODEL, batch, source, uniforms)
    client = OnnxSampler(exported, threads=1)
    assert client.methods == ["step", "loop"]
    for method in client.methods:
        drawn = client.rollout(uniforms, source, 1.0, method)
        np.testing.assert_array_equal(drawn.values, expected)
        np.testing.assert_allclose(drawn.log_prob, MODEL.log_prob(expected, source), rtol=1e-5)
    np.testing.assert_array_equal(by_signatures(exported, uniforms, source), expected)
    values = values_of(MODEL, batch)
    np.testing.assert_allclose(client.log_prob(values, source), MODEL.log_prob(values, source), rtol=1e-5)


def test_examples_join_whenever_they_come(exported: Path) -> None:
    sampler = OnnxSampler(exported, threads=1)
    assert_it_matters_to_none_when_it_joins(sampler, condition_of(MODEL, 4))


def test_the_source_is_encoded_once_and_may_be_shorter(exported: Path) -> None:
    client, source = OnnxSampler(exported, threads=1), condition_of(MODEL, 3)[:, :4]
    runs: list[str] = []

    def counted(name: str, arrays: Any) -> Any:
        runs.append(name)
        return client.functions.run(name, arrays)

    client._rollout.run = counted
    uniforms = noise(MODEL, 3)
    drawn = client.sample(3, source, uniforms, method="step")
    np.testing.assert_array_equal(drawn, sample(MODEL, 3, source, uniforms))
    assert runs == ["encode_source", *["step"] * SEQUENCE[1]]
    runs.clear()
    known = {"observed": values_of(MODEL, 3), "mask": np.arange(5)[None] >= 2}
    drawn = client.sample(3, source, uniforms, method="step", **known)
    np.testing.assert_array_equal(drawn, sample(MODEL, 3, source, uniforms, **known))
    assert runs == ["encode_source", "prefill", *["step"] * 3]


def test_a_manifest_says_what_a_source_is(exported: Path) -> None:
    manifest = tfprior.export.load_manifest(exported)
    assert json.loads((exported / "manifest.json").read_text())["priors"][0]["condition"] == {
        "kind": "source",
        "num_classes": None,
        "shape": [6],
        "function": None,
        "num_levels": 5,
        "padding": 4,
        "class_names": None,
    }
    names = [port.name for port in manifest.functions["step"].inputs]
    assert names[2:6] == ["previous", "position", "uniforms", "temperature"]
    assert names[6:] == ["memory.hidden", "memory.0.key", "memory.0.value"]
    assert {"onnx step", "saved_model step"} <= set(tfprior.export.verify(exported))


def edited(*place: Any, to: Any) -> Callable[[dict], None]:
    def edit(fields: dict) -> None:
        *before, last = place
        for key in before:
            fields = fields[key]
        fields[last] = to

    return edit


CONDITION = ("priors", 0, "condition")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (edited("priors", 0, "end_value", to=4), "end_value is 4; expected one of the levels, of grids"),
        (edited(*CONDITION, "padding", to=5), "num_levels 5 and padding 5; expected both for a source"),
        (edited(*CONDITION, "padding", to=None), "num_levels 5 and padding None; expected both"),
        (
            edited(*CONDITION, "num_levels", to=3),
            r"golden.condition lies in \[0, 4\]; expected \[0, 2\]|padding 4",
        ),
        (edited(*CONDITION, "shape", to=[7]), r"golden.condition has the shape \(2, 6\); expected \(2, 7\)"),
        (edited(*CONDITION, "kind", to="vector"), "kind 'vector' has num_levels 5 and padding 4"),
        (lambda m: m["functions"].pop("encode_source"), "it lacks the function 'encode_source'"),
        (
            lambda m: m["functions"]["step"]["inputs"].pop(),
            "the ports of step.inputs are .*; expected memory.0.key, memory.0.value",
        ),
        (
            edited("functions", "encode_source", "outputs", 1, "shape", 2, to=12),
            r"encode_source.outputs has memory.0.key float32 .*; expected float32 \(2, 6, 4\)",
        ),
        (
            edited("priors", 0, "cache", to=None),
            "cache is null; expected one for steps that attend to a source",
        ),
        (
            edited("functions", "encode_source", "inputs", 0, "dtype", to="float32"),
            "encode_source.inputs has condition float32",
        ),
    ],
)
def test_contradictions_are_refused(bundle: Path, edit: Any, message: str) -> None:
    edit_manifest(bundle, edit)
    with pytest.raises(BundleError, match=message):
        OnnxSampler(bundle)


def test_a_changed_encoder_is_found_out(bundle: Path) -> None:
    name = "onnx/encode_source.onnx"
    graph = onnx.load(str(bundle / name))
    weights = max(graph.graph.initializer, key=lambda each: len(each.raw_data))
    array = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(array[::-1].copy(), weights.name))
    replace_file(bundle, name, graph.SerializeToString())
    with pytest.raises(BundleError, match="onnx step gives"):
        tfprior.export.verify(bundle, onnx_only=True)
    (bundle / name).unlink()
    with pytest.raises(BundleError, match="encode_source"):
        tfprior.export.verify(bundle, onnx_only=True)


def test_what_is_known_does_not_go_on_after_its_end(exported: Path) -> None:
    client = OnnxSampler(exported, threads=1)
    assert client.prior.end_value == END
    values, mask = np.full((1, *SEQUENCE), END), np.zeros(SEQUENCE[:2], bool)
    values[0, 0, 4] = 0
    with pytest.raises(ValueError, match="known of 1 of 1 sequences goes on after its end value 3"):
        client.complete(values, mask, condition_of(MODEL, 1))


def test_bad_sources_are_refused(exported: Path) -> None:
    client = OnnxSampler(exported, threads=1)
    for source, message in (
        (None, r"condition=None; expected integer tokens \(batch, 6 or fewer\) in \[0, 4\]"),
        (np.zeros((2, 7), "int32"), r"shape \(2, 7\); expected integer tokens"),
        (np.full((2, 6), 5), r"Tokens of the source lie in \[5, 5\]; expected \[0, 4\]"),
    ):
        with pytest.raises(ValueError, match=message):
            client.sample(2, source)


def test_javascript_draws_the_same(exported: Path) -> None:
    assert_draws_as_keras(exported, MODEL, condition_of(MODEL, 5))
