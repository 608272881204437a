"""Exported generators: Keras = SavedModel = ONNX Runtime = client between noise, codes and images.

Shapes: N images · H W C · h w G codes.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from catalogue import randomise
from node import ask
from runtimes import save_everywhere
from test_generator import LABELS, SHAPE, SMALL, generator, images, tokenizer

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.description import describe_images, describe_priors
from tfprior.export.verification import golden_condition
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN
from tfprior.sampling import sample

KINDS = ["two codes", "two grids"]
PIXELS = 1e-4 * 15
"""Tolerance of expected images of 16 levels."""


pytestmark = pytest.mark.slow("two codes")


class Exported(NamedTuple):
    model: Generator
    path: Path
    client: OnnxGenerator

    def noise(self, seed: int = 0) -> list[np.ndarray]:
        random = np.random.default_rng(seed)
        return [
            random.random((len(LABELS), *shape[:2], prior.distribution.num_uniforms(shape[2])), "float32")
            for prior, shape in zip(self.model.priors, self.model.tokenizer.code_shapes, strict=True)
        ]

    def expected(self, noise: list[np.ndarray]) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """What Keras makes of the noise: codes, their nats, images."""
        codes: list[np.ndarray] = []
        nats: Any = 0.0
        for prior, uniforms in zip(self.model.priors, noise, strict=True):
            condition = self.model.condition_of(codes, LABELS)
            condition = np.asarray(condition)
            codes.append(sample(prior, len(LABELS), condition, uniforms))
            nats = nats + np.asarray(prior.log_prob(codes[-1], condition))
        decoded = self.model.tokenizer.decode(codes if len(codes) > 1 else codes[0])
        return codes, nats, decoded


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    model = generator(request.param)
    path = save_everywhere(model, tmp_path_factory.mktemp("bundle") / "generator")
    return Exported(model, path, OnnxGenerator(path, threads=1))


def grids(codes: Any) -> list[np.ndarray]:
    return codes if isinstance(codes, list) else [codes]


def test_generate_gives_keras_s_codes_and_images(exported: Exported) -> None:
    signature = tf.saved_model.load(str(exported.path / "saved_model/1")).signatures["generate"]
    prefixes = [sampler.prefix for sampler in exported.client.samplers]
    for seed in (0, 1):
        noise = exported.noise(seed)
        codes, nats, expected = exported.expected(noise)
        given = {f"{prefix}uniforms": tf.constant(one) for prefix, one in zip(prefixes, noise, strict=True)}
        by_tf = signature(**given, condition=tf.constant(LABELS, "int32"), temperature=tf.ones(len(LABELS)))
        for out in (
            exported.client.generate(noise if len(noise) > 1 else noise[0], LABELS),
            {name: value.numpy() for name, value in by_tf.items()},
        ):
            for prefix, grid in zip(prefixes, codes, strict=True):
                np.testing.assert_array_equal(out[f"{prefix}codes"], grid)
            np.testing.assert_allclose(out["images"], expected, atol=PIXELS)
            np.testing.assert_allclose(out["log_prob"], nats, rtol=1e-5, atol=1e-4)


def test_steps_then_decode_give_keras_s_images(exported: Exported) -> None:
    noise = exported.noise()
    codes, _, expected = exported.expected(noise)
    for method in ("pair", "step", "loop"):
        above: list[np.ndarray] = []
        for sampler, uniforms in zip(exported.client.samplers, noise, strict=True):
            condition = np.asarray(exported.model.condition_of(above, LABELS))
            above.append(sampler.rollout(uniforms, condition, 1.0, method)[0])
        for ours, theirs in zip(above, codes, strict=True):
            np.testing.assert_array_equal(ours, theirs)
        drawn = exported.client.decode(above if len(above) > 1 else above[0])
        np.testing.assert_allclose(drawn, expected, atol=PIXELS)


def test_the_client_draws_the_images_of_the_same_seed(exported: Exported) -> None:
    ours, theirs = exported.client, exported.model
    for one, other in zip(
        grids(ours.sample_codes(5, LABELS, seed=3)),
        grids(theirs.sample_codes(5, LABELS, seed=3)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    difference = ours.sample(5, LABELS, seed=3) - theirs.sample(5, LABELS, seed=3)
    assert np.abs(difference).max() <= 1  # an expectation halfway between two levels
    assert (difference != 0).mean() < 0.01


def test_images_encode_and_decode_as_in_keras(exported: Exported) -> None:
    x = images(40)  # more than one batch of the client's
    codes = exported.model.tokenizer.encode(x)
    for ours, theirs in zip(grids(exported.client.encode(x)), grids(codes), strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == "int32"
    decoded = exported.client.decode(codes)
    np.testing.assert_allclose(decoded, exported.model.tokenizer.decode(codes), atol=PIXELS)


def test_the_bound_is_keras_s(exported: Exported) -> None:
    x = images(5)
    np.testing.assert_allclose(
        exported.client.log_prob(x, LABELS), exported.model.log_prob(x, LABELS), rtol=1e-5
    )


def test_the_manifest_tells_the_way_from_noise_to_images(exported: Exported) -> None:
    manifest = tfprior.export.load_manifest(exported.path)
    functions = set(manifest.functions)
    prefixes = [prior.prefix for prior in manifest.priors]
    of_priors = {"initial_state", "step", "sample", "log_prob", "row", "pixel"}
    between = {"encode", "decode", "generate", "log_prob_bound"}
    conditions = {f"{prefix}condition" for prefix in prefixes[1:]}
    assert functions == between | conditions | {prefix + name for prefix in prefixes for name in of_priors}
    assert prefixes == (["top_", "bottom_"] if len(prefixes) > 1 else [""])
    assert manifest.images.shape == SHAPE
    assert [prior.grid_shape for prior in manifest.priors] == [
        tuple(shape) for shape in exported.model.tokenizer.code_shapes
    ]
    default = "step" if len(prefixes) == 1 else "generate"
    signatures = tf.saved_model.load(str(exported.path / "saved_model/1")).signatures
    assert set(signatures["serving_default"].structured_outputs) == set(
        signatures[default].structured_outputs
    )


@pytest.mark.parametrize("condition_shape", [None, (3,), (4, 2, 2)])
def test_golden_bounds_are_of_the_golden_condition(condition_shape: Any) -> None:
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), condition_shape=condition_shape, **SMALL)
    model = Generator(tokenizer(), randomise(prior))
    priors = describe_priors(model)
    golden = describe_images(model, priors).golden
    bound = model.log_prob(golden.images, golden_condition(priors[0]))
    np.testing.assert_allclose(golden.log_prob_bound, bound, rtol=1e-6)


@pytest.mark.slow
def test_a_model_in_half_precision_is_exported_in_float32(tmp_path: Path) -> None:
    tokens = tokenizer(dtype="mixed_bfloat16")
    prior = randomise(GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL, dtype="mixed_float16"))
    model = Generator(tokens, prior)
    client = OnnxGenerator(tfprior.export.save(model, tmp_path / "bundle", formats=("onnx",)), threads=1)
    noise = np.random.default_rng(0).random((5, 4, 2, 1), "float32")
    codes = sample(prior, 5, uniforms=noise)
    out = client.generate(noise)
    np.testing.assert_array_equal(out["codes"], codes)
    np.testing.assert_allclose(out["images"], tokens.decode(codes), atol=PIXELS)
    np.testing.assert_array_equal(client.encode(images(5)), tokens.encode(images(5)))


def test_double_precision_is_refused(tmp_path: Path) -> None:
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL, dtype="float64")
    with pytest.raises(ValueError, match=r"computes in float64 .*; expected float32"):
        tfprior.export.save(prior, tmp_path / "bundle")


def test_wrong_arguments_are_named(exported: Exported) -> None:
    client = exported.client
    with pytest.raises(ValueError, match=r"images have shape \(2, 4, 8, 1\); expected \(batch, 8, 4, 1\)"):
        client.encode(np.zeros((2, 4, 8, 1), "int32"))
    with pytest.raises(ValueError, match=r"Got 3 grids of codes; expected"):
        client.decode([images(1)] * 3)
    with pytest.raises(ValueError, match=r"Got 3 grids of noise; expected"):
        client.generate([np.zeros((1, 4, 2, 1))] * 3, [0])
    with pytest.raises(ValueError, match="Got 0 examples"):
        client.encode(images(0))
    with pytest.raises(ValueError, match="is conditional and got condition=None"):
        client.sample(2)
    with pytest.raises(BundleError, match=r"holds no prior with prefix 'middle_'; expected one of '"):
        OnnxSampler(exported.path, prefix="middle_")


def test_a_bundle_of_a_prior_has_no_images(tmp_path: Path) -> None:
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL)
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("onnx",))
    with pytest.raises(BundleError, match="holds a prior and no tokenizer: open it with OnnxSampler"):
        OnnxGenerator(path)


def test_javascript_draws_the_same(exported: Exported) -> None:
    model, count = exported.model, len(LABELS)
    codes = np.concatenate([one.ravel() for one in grids(model.sample_codes(count, LABELS, seed=3))])
    values, mask = images(count), np.zeros((count, 8, 4), bool)
    mask[:, 4:, 2:] = True
    asked = {"count": count, "condition": LABELS, "seed": 3}
    drawn, by_code, filled = ask(
        exported.path,
        ("sample", asked),
        ("draw", asked),
        ("complete", {**asked, "values": values, "mask": mask}),
    )
    for found in (drawn, by_code):
        np.testing.assert_array_equal(np.concatenate(found["codes"]), codes)
    expected = model.tokenizer.decode(model.sample_codes(count, LABELS, seed=3))
    np.testing.assert_allclose(drawn["expected"], expected.ravel(), atol=PIXELS)
    completed = model.complete(values, mask, LABELS, seed=3)
    np.testing.assert_array_equal(filled["values"], completed.ravel())
