"""Bundles that TensorFlow Serving holds: sampled over its wire, the integers of every other runtime."""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from catalogue import prior
from small_bundles import save_generator, save_prior
from tf_server import Service, serving

import tfprior.export
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.protobuf import MalformedError
from tfprior.export.tensor_protos import tensor_of, tensor_proto
from tfprior.export.tf_serving import ServingFunctions, ServingGenerator, ServingSampler
from tfprior.priors import CausalTransformer

FORMATS = ("saved_model", "onnx")
SCHEMES = ("grpc", "http")


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bundles")
    transformer = prior(CausalTransformer, (2, 3, 1), "none", num_layers=1)
    return {
        "prior": save_prior(folder / "prior", formats=FORMATS),
        "generator": save_generator(folder / "generator", formats=FORMATS),
        "transformer": tfprior.export.save(transformer, folder / "transformer", formats=FORMATS),
    }


@pytest.fixture(scope="module")
def served(bundles: dict[str, Path]) -> Iterator[tuple[Service, dict[str, str]]]:
    with serving("prior", bundles["prior"] / "saved_model" / "1") as running:
        yield running


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("content", [True, False], ids=["content", "values"])
def test_a_prior_draws_and_scores_the_same(
    bundles: dict[str, Path], served: Any, scheme: str, content: bool
) -> None:
    service, addresses = served
    service.content = content
    there, here = ServingSampler(bundles["prior"], addresses[scheme]), OnnxSampler(bundles["prior"])
    assert there.methods == ["loop", "pair", "step"]
    given: dict[str, Any] = {"condition": [0, 1, 1], "seed": 3, "temperature": np.array([0.5, 1, 2])}
    expected = here.sample(3, **given)
    for method in (None, "pair", "step"):
        np.testing.assert_array_equal(there.sample(3, **given, method=method), expected)
    nats = here.log_prob(expected, [0, 1, 1])
    np.testing.assert_allclose(there.log_prob(expected, [0, 1, 1]), nats, rtol=1e-6)
    mask = np.zeros((3, 4), bool)
    mask[1:] = True
    completed = here.complete(expected, mask, [0, 1, 1], seed=4)
    np.testing.assert_array_equal(there.complete(expected, mask, [0, 1, 1], seed=4), completed)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_generator_draws_the_same(bundles: dict[str, Path], scheme: str) -> None:
    path = bundles["generator"]
    with serving("codes", path / "saved_model" / "1") as (_, addresses):
        there, here = ServingGenerator(path, addresses[scheme], "codes"), OnnxGenerator(path)
        np.testing.assert_array_equal(there.sample(3, seed=1), here.sample(3, seed=1))


def test_steps_from_nothing_need_grpc(bundles: dict[str, Path]) -> None:
    path = bundles["transformer"]
    with serving("transformer", path / "saved_model" / "1") as (_, addresses):
        expected = OnnxSampler(path).sample(2, seed=1)
        sampler = ServingSampler(path, addresses["grpc"])
        for method in ("loop", "step"):
            np.testing.assert_array_equal(sampler.sample(2, seed=1, method=method), expected)
        sampler = ServingSampler(path, addresses["http"])
        np.testing.assert_array_equal(sampler.sample(2, seed=1), expected)
        with pytest.raises(ValueError, match="whose shapes JSON cannot tell: use grpc://"):
            sampler.sample(2, seed=1, method="step")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_is_not_answered_is_told(bundles: dict[str, Path], served: Any, scheme: str) -> None:
    path, (_, addresses) = bundles["prior"], served
    other = ServingSampler(path, addresses[scheme], "another")
    with pytest.raises(ConnectionError, match=r"does not run 'sample' of the model another.*not found"):
        other.sample(1, [0])
    nobody = ServingSampler(path, f"{scheme}://127.0.0.1:1", timeout=5)
    with pytest.raises(ConnectionError, match="does not run 'sample' of the model prior"):
        nobody.sample(1, [0])
    with (
        serving("prior", bundles["transformer"] / "saved_model" / "1") as (_, wrong),
        pytest.raises((ConnectionError, BundleError)),
    ):
        ServingSampler(path, wrong[scheme]).sample(1, [0])


@pytest.mark.parametrize("told", ["{}", "[1]", '{"outputs": {"values": [[1], 2]}}', '{"outputs": "a"}', "{"])
def test_answers_that_are_none_are_refused(bundles: dict[str, Path], monkeypatch: Any, told: str) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **options: io.BytesIO(told.encode()))
    sampler = ServingSampler(bundles["prior"], "http://localhost:1")
    with pytest.raises(ConnectionError, match="does not run 'sample' of the model prior"):
        sampler.sample(1, [0])


def test_bundles_and_addresses_are_checked(bundles: dict[str, Path], tmp_path: Path) -> None:
    for address in ("localhost:8501", "ftp://localhost", "http://"):
        with pytest.raises(ValueError, match=r"expected http://HOST:PORT or grpc://HOST:PORT"):
            ServingFunctions(bundles["prior"], address)
    with pytest.raises(BundleError, match="holds a prior and no tokenizer"):
        ServingGenerator(bundles["prior"], "http://localhost:8501")
    alone = save_prior(tmp_path / "alone", num_classes=None)
    with pytest.raises(BundleError, match="holds no SavedModel; export it"):
        ServingSampler(alone, "http://localhost:8501")


def test_tensors_are_those_of_tensorflow() -> None:
    arrays = [
        np.random.default_rng(0).standard_normal((2, 3)).astype("float32"),
        np.array([[-(2**31), 2**31 - 1, 0]], "int32"),
        np.zeros((2, 0, 4), "float32"),
        np.float32(1.5).reshape(()),
    ]
    for array in arrays:
        np.testing.assert_array_equal(tf.make_ndarray(tf.make_tensor_proto(array)), array)
        np.testing.assert_array_equal(tensor_of(tensor_proto(array)), array)
        read = tensor_of(tf.make_tensor_proto(array).SerializeToString())
        np.testing.assert_array_equal(read, array)
        assert (read.dtype, read.shape) == (array.dtype, array.shape)
        written = tf.make_ndarray(type(tf.make_tensor_proto(0)).FromString(tensor_proto(array)))
        np.testing.assert_array_equal(written, array)
    constant = tf.make_tensor_proto(7, shape=(2, 3), dtype="int32").SerializeToString()  # one value for all
    np.testing.assert_array_equal(tensor_of(constant), np.full((2, 3), 7))


def test_damaged_answers_are_refused() -> None:
    whole = tensor_proto(np.arange(6, dtype="float32").reshape(2, 3))
    for damaged in (
        whole[:-1],
        whole[:5],
        b"\x08\x07",
        tensor_proto(np.zeros((2**15, 1, 0), "float32"))[:-3] + b"\x7f" * 20,
    ):
        with pytest.raises(MalformedError):
            tensor_of(damaged)
    random = np.random.default_rng(0)
    for _ in range(300):
        noisy = bytearray(whole)
        noisy[random.integers(len(whole))] ^= 1 << int(random.integers(8))
        with contextlib.suppress(MalformedError):
            tensor_of(bytes(noisy))
