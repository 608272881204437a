"""Weights of 16 and 8 bits: rounded once, and then the same numbers in every graph of the bundle."""

from pathlib import Path

import catalogue
import keras
import numpy as np
import onnx
import pytest
from bundle_files import edit_manifest
from catalogue import condition_of
from made_graphs import YES, body, constant, loop, model, node
from node import assert_draws_as_keras
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from test_generator import SMALL, tokenizer

import tfprior.export
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.encoders import ViT
from tfprior.export import load_manifest
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.description import MEASURED
from tfprior.export.golden import random_condition
from tfprior.export.graph_check import check_graph
from tfprior.export.manifest import WeightsDescription
from tfprior.export.narrow_weights import (
    WeightType,
    narrow,
    rounded,
    rounded_to_float16,
    rounded_to_int8,
    whole_multiples,
)
from tfprior.generator import Generator
from tfprior.priors import CausalTransformer, GatedPixelCNN, MaskedTransformer, PixelCNNPP
from tfprior.sampling import sample

ROUND = {"float16": rounded_to_float16, "int8": rounded_to_int8}
TYPES = {"float16": TensorProto.FLOAT16, "int8": TensorProto.INT8}
NARROW = ("float16", "int8")
PRIORS = {
    "gated": lambda: GatedPixelCNN((3, 4, 1), Categorical(4), 16, 2, first_kernel_size=3, num_classes=3),
    "pixelcnn++": lambda: PixelCNNPP(
        (4, 4, 3), DiscretizedLogisticMixture(2, 8), filters=16, num_layers=1, num_stages=1
    ),
    "transformer": lambda: CausalTransformer(
        (3, 4, 1), Categorical(4), num_layers=1, num_heads=2, hidden_dim=16
    ),
}


@pytest.mark.parametrize("shape", [(5, 7), (3, 2, 4, 40), (16, 300)])
def test_int8_is_found_in_what_graphs_make_of_weights(shape: tuple[int, ...]) -> None:
    kernel = np.random.default_rng(0).standard_normal(shape).astype("float32")
    kernel[..., 3] = 0
    near = rounded_to_int8(kernel, "kernel")
    assert np.abs(near - kernel).max() < 0.6 * np.abs(kernel).max() / 127
    masked = near * np.tril(np.ones(shape[-2:], "float32"))
    for array in (near, near.T, masked, np.flip(near, 0), near.reshape(-1, shape[-1])):
        found = whole_multiples(array)
        if min(array.size // size for size in array.shape) < 8:
            assert found is None  # too short to be worth a scale
            continue
        assert found is not None
        multiples, scales = found
        assert (multiples.dtype, scales.dtype) == ("int8", "float32")
        np.testing.assert_array_equal(multiples * scales, array)
    assert whole_multiples(kernel) is None
    assert whole_multiples(kernel.astype("float16").astype("float32")) is None


@pytest.mark.parametrize("weight_type", NARROW)
def test_graphs_compute_the_same_with_narrow_weights_also_in_loops(weight_type: WeightType) -> None:
    generator = np.random.default_rng(0)
    kernel, other = generator.standard_normal((2, 100, 3)).astype("float32")
    narrow_kernel = ROUND[weight_type](kernel, "kernel")
    steps = [node("MatMul", ["z", "up"], ["wide"]), node("MatMul", ["wide", "down"], ["narrow"])]
    inner = body(*steps, node("Add", ["narrow", "other_up"], ["w"]))
    stored = {"up": narrow_kernel.T, "down": narrow_kernel, "other_up": other[0], "other": other}
    inner.initializer.extend(constant(name, value, "float32") for name, value in stored.items())
    whole = model(loop("three", inner), constants=(YES, constant("three", 3)))
    given = {"x": generator.standard_normal((2, 3)).astype("float32")}
    expected = ReferenceEvaluator(whole).run(None, given)
    narrow(whole.graph, weight_type)
    check_graph(whole.SerializeToString())
    np.testing.assert_array_equal(ReferenceEvaluator(whole).run(None, given), expected)
    types = {tensor.name: tensor.data_type for tensor in whole.graph.initializer}
    assert types[f"up_{weight_type}"] == types[f"down_{weight_type}"] == TYPES[weight_type]
    assert types["other"] == TensorProto.FLOAT  # which are no numbers of that type


@pytest.mark.slow("gated", "transformer-float16", "pixelcnn++-int8")
@pytest.mark.parametrize("weight_type", NARROW)
@pytest.mark.parametrize("name", PRIORS)
def test_bundles_are_smaller_and_draw_what_the_rounded_model_draws(
    name: str, weight_type: WeightType, tmp_path: Path
) -> None:
    keras.utils.set_random_seed(0)
    prior = catalogue.randomise(PRIORS[name](), seed=1)
    path = tfprior.export.save(prior, tmp_path / "prior", weights=weight_type)
    near, given = rounded(prior.for_sampling(), weight_type), condition_of(prior, 5)
    client = OnnxSampler(path)
    expected = sample(near, 5, given, seed=3)
    np.testing.assert_array_equal(client.sample(5, given, seed=3), expected)
    np.testing.assert_allclose(client.log_prob(expected, given), near.log_prob(expected, given), rtol=1e-5)
    if name == "transformer":  # which multiplies matrices alone
        tfprior.export.verify(path, runtimes=["openvino"])
    if name == "gated":
        assert_draws_as_keras(path, near, given)
        with pytest.raises(AssertionError):
            assert_draws_as_keras(path, prior, given)

    types = [TensorProto.DataType.Name(kind) for kind in types_of_weights(path)]
    assert types.count(weight_type.upper()) >= 0.9 * len(types)
    matrices = sum(weight.shape.num_elements() for weight in near.weights if len(weight.shape) > 1)
    weights = (path / "onnx" / "weights.bin").stat().st_size
    assert weights < 2 * matrices * {"float16": 2, "int8": 1}[weight_type]

    told = load_manifest(path).weights
    assert told is not None
    assert told.added_bits_per_dim is not None
    condition = random_condition(prior, MEASURED, np.random.default_rng(0))
    drawn = prior.sample(MEASURED, condition, seed=0)
    added = near.bits_per_dim(drawn, condition) - prior.bits_per_dim(drawn, condition)
    assert told.type == weight_type
    np.testing.assert_allclose(told.added_bits_per_dim, added.mean(), atol=2e-6)


def types_of_weights(path: Path) -> list[int]:
    """Of the tensors in the file that graphs share, as often as graphs read them."""
    graphs = [onnx.load(file, load_external_data=False).graph for file in (path / "onnx").glob("*.onnx")]
    return [
        tensor.data_type
        for graph in graphs
        for tensor in graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    ]


def test_a_generator_and_an_encoder_are_rounded_whole(tmp_path: Path) -> None:
    prior = catalogue.randomise(GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL))
    generator = Generator(tokenizer(), prior)
    path = tfprior.export.save(generator, tmp_path / "images", formats=("onnx",), weights="int8")
    near = rounded(generator.for_sampling(), "int8")
    np.testing.assert_array_equal(OnnxGenerator(path).sample(3, seed=1), near.sample(3, seed=1))
    told = load_manifest(path).weights
    assert told is not None
    assert told.added_bits_per_dim is not None

    encoder = ViT((8, 8, 1), 4, num_layers=1, num_heads=2, hidden_dim=16)
    path = tfprior.export.save(encoder, tmp_path / "encoder", formats=("onnx",), weights="float16")
    assert load_manifest(path).weights == WeightsDescription("float16", None)
    edit_manifest(path, lambda fields: fields["weights"].update(added_bits_per_dim=0.5))
    with pytest.raises(BundleError, match=r"is 0\.5; expected a number, and null of an encoder"):
        load_manifest(path)


def test_a_masked_prior_is_measured_by_its_bound(tmp_path: Path) -> None:
    prior = catalogue.prior_like(MaskedTransformer, (2, 3, 1), num_layers=1, hidden_dim=32)
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("onnx",), weights="int8")
    near = rounded(prior, "int8")
    np.testing.assert_array_equal(OnnxSampler(path).sample(3, seed=1), near.sample(3, seed=1))
    drawn = prior.sample(MEASURED, seed=0, method="halton")
    added = prior.log_prob_bound(drawn).mean() - near.log_prob_bound(drawn).mean()
    told = load_manifest(path).weights
    assert told is not None
    np.testing.assert_allclose(told.added_bits_per_dim, added / (6 * np.log(2)), atol=2e-6)


def test_what_cannot_be_rounded_is_refused(tmp_path: Path) -> None:
    prior = PRIORS["gated"]()
    with pytest.raises(ValueError, match="weights='int4'; expected one of float32, float16, int8"):
        tfprior.export.save(prior, tmp_path / "prior", weights="int4")  # type: ignore[arg-type]
    kernel = next(weight for weight in prior.weights if len(weight.shape) > 1)
    kernel.assign(np.full(kernel.shape, 1e5))
    with pytest.raises(ValueError, match=r"reach 1e\+05, and float16 ends at 65504; export them as int8"):
        tfprior.export.save(prior, tmp_path / "prior", weights="float16")
    assert not (tmp_path / "prior").exists()
