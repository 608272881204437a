"""Models trained in half precision: what draws, measures and compresses is a copy in float32.

Losses, metrics and codebooks are float32 in training too.
"""

import functools
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import PRIORS, TOKENIZERS, Entry, condition_of, integers, randomise, values_of

import tfprior.export
from tfprior.compression import compress, decompress
from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.export.client import OnnxSampler
from tfprior.float32_copies import in_float32
from tfprior.generator import Generator
from tfprior.measuring import scores_of
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.sampling import sample, sample_rows
from tfprior.tokenizers import VQVAE, VQVAE2

MIXED = ("mixed_bfloat16", "mixed_float16")
TOLERANCE = {"mixed_bfloat16": 2e-2, "mixed_float16": 2e-3}
"""Of a loss beside that of float32, relative: of the same weights, which are random and large."""
ROOT = Path(__file__).parent.parent

each_policy = pytest.mark.parametrize("policy", MIXED)
ONE_OF_A_KIND = list({entry.kind: entry for entry in PRIORS}.values())
each_prior = pytest.mark.parametrize("entry", ONE_OF_A_KIND, ids=str)
each_tokenizer = pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
each_model = pytest.mark.parametrize("entry", [*PRIORS, *TOKENIZERS], ids=str)


def made(entry: Entry, policy: str = "mixed_bfloat16") -> tuple[Any, Any]:
    """The same weights under a mixed policy, and in float32."""
    exact = randomise(entry.build())
    if entry in TOKENIZERS:  # codebooks are not trained weights
        exact.initialize(entry.inputs())
    half = entry.build(dtype=policy)
    half.set_weights(exact.get_weights())
    return half, exact


both = functools.cache(made)
"""Those that no test changes: what is compiled for them stays compiled."""


@contextmanager
def global_policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def flat(parts: Any) -> np.ndarray:
    return np.concatenate([np.ravel(part) for part in keras.tree.flatten(parts)])


# What a user asks of a trained model is asked of float32 ---------------------------------------------------


@pytest.mark.slow("AnyOrderTransformer", "[PixelCNN-", "GatedPixelCNN")
@each_prior
def test_cached_sampling_draws_what_the_definition_draws(entry: Entry) -> None:
    half, _ = both(entry)
    condition = condition_of(half, 4)
    drawn, expected = (sample(half, 4, condition, seed=0, method=name) for name in ("cached", "full"))
    np.testing.assert_array_equal(drawn, expected)


@pytest.mark.slow("mixed_float16")
@each_policy
def test_all_methods_and_completion_are_those_of_float32(policy: str) -> None:
    half, exact = both(PRIORS[4], policy)
    labels, images = condition_of(half, 4), values_of(half, 4)
    expected = sample(exact, 4, labels, seed=0)
    for method in ("parallel", "parallel_rows", "auto"):
        np.testing.assert_array_equal(sample(half, 4, labels, seed=0, method=method), expected)
    np.testing.assert_array_equal(np.stack(list(sample_rows(half, 4, condition=labels, seed=0)), 1), expected)
    mask = np.arange(4)[:, None] > np.zeros(6)
    np.testing.assert_array_equal(
        half.complete(images, mask, labels, seed=1), exact.complete(images, mask, labels, seed=1)
    )


@pytest.mark.slow("[PixelCNN-", "GatedPixelCNN")
@each_prior
def test_likelihoods_are_those_of_float32(entry: Entry) -> None:
    half, exact = both(entry)
    values, condition = values_of(half), condition_of(half)
    for name in ("log_prob", "pixel_log_prob", "bits_per_dim"):
        np.testing.assert_array_equal(
            getattr(half, name)(values, condition), getattr(exact, name)(values, condition)
        )
    if half.condition_kind is None or half.condition_kind.is_label:
        assert scores_of(half, values, condition) == scores_of(exact, values, condition)
    # Of one batch, for graphs and gradients, it computes as it trains.
    trained = half.log_prob_batch(values, condition)
    assert trained.dtype == "float32"
    assert np.any(trained != exact.log_prob_batch(values, condition))


@each_tokenizer
def test_tokenizers_encode_and_decode_in_float32(entry: Entry) -> None:
    half, exact = both(entry)
    images = entry.inputs()
    codes = exact.encode(images)
    np.testing.assert_array_equal(flat(half.encode(images)), flat(codes))
    np.testing.assert_array_equal(half.decode(codes), exact.decode(codes))
    np.testing.assert_array_equal(half.reconstruct(images), exact.reconstruct(images))
    np.testing.assert_array_equal(half.pixel_log_prob(images), exact.pixel_log_prob(images))
    assert scores_of(half, images) == scores_of(exact, images)
    if isinstance(half, VQVAE2):
        condition = half.condition_map(codes[0])
        assert condition.dtype == "float32"
        np.testing.assert_array_equal(condition, exact.condition_map(codes[0]))


@pytest.mark.slow("CausalTransformer", "EncoderDecoder", "[PixelCNN-")
@pytest.mark.xla
@pytest.mark.parametrize("entry", PRIORS[::4], ids=str)  # XLA compiles for each
def test_compressed_images_are_those_of_float32(entry: Entry) -> None:
    half, exact = both(entry)
    values, condition = values_of(half), condition_of(half)
    data = compress(half, values, condition)
    vectors = None if half.num_classes is not None else condition
    for model in (half, exact):
        np.testing.assert_array_equal(decompress(model, data, vectors).images, values)


@pytest.mark.parametrize("entry", PRIORS[2:5:2], ids=str)  # the second has a copy with plain kernels too
def test_a_copy_follows_the_weights_of_its_model(entry: Entry) -> None:
    half, exact = made(entry)
    condition = condition_of(half, 2)
    before = sample(half, 2, condition, seed=0)
    for model in (half, exact):
        randomise(model, seed=7)
    after = sample(half, 2, condition, seed=0)
    np.testing.assert_array_equal(after, sample(exact, 2, condition, seed=0))
    assert (before != after).any()
    assert in_float32(half) is in_float32(half)
    assert in_float32(exact) is exact
    assert half.for_sampling() is half.for_sampling()


def generators(policy: str) -> tuple[Generator, Generator]:
    """Two grids of codes, in half precision and in float32."""

    def built(dtype: str) -> Generator:
        top, bottom = VectorQuantizer(4, 3), VectorQuantizer(6, 3)
        tokenizer = VQVAE2((8, 4, 1), top, bottom, DiscretizedLogistic(16), 2, 6, 1, 4, dtype=dtype)
        small: dict[str, Any] = {"filters": 6, "num_layers": 1, "first_kernel_size": 3, "dtype": dtype}
        coarse = PixelCNN((2, 1, 1), Categorical(4), num_classes=3, **small)
        fine = GatedPixelCNN((4, 2, 1), Categorical(6), condition_shape=(4, 2, 3), **small)
        return Generator(tokenizer, [coarse, fine])

    half, exact = built(policy), built("float32")
    for part in exact.parts():
        randomise(part)
    exact.tokenizer.initialize(IMAGES)
    half.set_weights(exact.get_weights())
    return half, exact


IMAGES, LABELS = integers(5, 8, 4, 1, top=16), np.arange(5) % 3


@pytest.mark.slow
@pytest.mark.xla
def test_generators_are_those_of_float32() -> None:
    half, exact = generators("mixed_bfloat16")
    drawn, expected = half.sample_parts(5, LABELS, seed=0), exact.sample_parts(5, LABELS, seed=0)
    assert set(drawn) == {"values", "codes_0", "codes_1"}
    for name, part in expected.items():
        np.testing.assert_array_equal(drawn[name], part)
    mask = np.arange(8)[:, None] >= np.full(4, 4)
    np.testing.assert_array_equal(
        half.complete(IMAGES, mask, LABELS, seed=0), exact.complete(IMAGES, mask, LABELS, seed=0)
    )
    np.testing.assert_array_equal(half.log_prob(IMAGES, LABELS), exact.log_prob(IMAGES, LABELS))
    data = compress(half, IMAGES, LABELS)
    np.testing.assert_array_equal(decompress(half, data).images, IMAGES)


# Files ---------------------------------------------------------------------------------------------------


@each_model
def test_a_config_keeps_the_policy(entry: Entry) -> None:
    half, _ = both(entry)
    copy = type(half).from_config(half.get_config())
    assert copy.get_config() == half.get_config()
    assert {layer.dtype_policy.name for layer in copy._flatten_layers()} == {"mixed_bfloat16"}
    copy.set_weights(half.get_weights())
    inputs = entry.inputs()
    for ours, theirs in zip(keras.tree.flatten(half(inputs)), keras.tree.flatten(copy(inputs)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


LOAD = """
import sys, keras, tfprior, numpy as np
for policy, optimizer in ("mixed_bfloat16", "Adam"), ("mixed_float16", "LossScaleOptimizer"):
    prior = keras.models.load_model(f"{policy}.keras")
    assert prior.dtype_policy.name == policy
    assert type(prior.optimizer).__name__ == optimizer
    drawn = np.load(f"{policy}.npy")
    np.testing.assert_array_equal(prior.sample(3, seed=0), drawn)
    np.testing.assert_array_equal(prior.log_prob(drawn), np.load(f"{policy}_nats.npy"))
"""


@pytest.mark.slow
def test_files_draw_the_same_in_a_fresh_process(tmp_path: Path) -> None:
    for policy in MIXED:
        prior = PixelCNNPP((3, 3, 1), Categorical(4), filters=4, num_layers=1, num_stages=1, dtype=policy)
        prior.compile(optimizer="adam")
        prior.fit(integers(32, 3, 3, 1), epochs=2, verbose=0)
        prior.save(tmp_path / f"{policy}.keras")
        drawn = prior.sample(3, seed=0)
        np.save(tmp_path / f"{policy}.npy", drawn)
        np.save(tmp_path / f"{policy}_nats.npy", prior.log_prob(drawn))
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-c", LOAD]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.mark.slow("PixelCNNPP")
@pytest.mark.parametrize(("kind", "options"), [(PixelCNN, {}), (PixelCNNPP, {"num_stages": 1})])
def test_an_exported_prior_draws_what_keras_draws(kind: Any, options: dict[str, int], tmp_path: Path) -> None:
    with global_policy("mixed_bfloat16"):
        prior = randomise(kind((4, 4, 1), DiscretizedLogistic(8), filters=6, num_layers=1, **options))
        path = tfprior.export.save(prior, tmp_path / "prior", formats=("onnx",))
    assert prior.compute_dtype == "bfloat16"
    drawn = OnnxSampler(path, threads=1).sample(16, seed=3)
    np.testing.assert_array_equal(drawn, sample(prior, 16, seed=3))


# Training ------------------------------------------------------------------------------------------------


@pytest.mark.each_once
@each_policy
@each_model
def test_losses_are_float32_and_close_to_those_of_float32(entry: Entry, policy: str) -> None:
    half, exact = both(entry, policy)
    inputs = entry.inputs()
    losses = [model.compute_loss(inputs, y_pred=model(inputs)) for model in (half, exact)]
    assert losses[0].dtype == "float32"
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=TOLERANCE[policy])
    for name, sums in half.statistics(inputs, None, half(inputs), None, training=False).items():
        assert all(part.dtype == "float32" for part in keras.tree.flatten(sums)), name


@pytest.mark.each_once
@each_policy
@each_model
def test_gradients_are_finite_and_reach_every_weight(entry: Entry, policy: str) -> None:
    half, _ = made(entry, policy)
    half.compile(optimizer="adam")
    half.optimizer.build(half.trainable_variables)
    inputs = entry.inputs()
    with tf.GradientTape() as tape:
        loss = half.optimizer.scale_loss(half.compute_loss(inputs, y_pred=half(inputs)))
    for weight in half.trainable_weights:
        assert weight.dtype == "float32"
    for gradient in tape.gradient(loss, [weight.value for weight in half.trainable_weights]):
        gradient = np.asarray(tf.convert_to_tensor(gradient))
        assert gradient.dtype == "float32"
        assert np.isfinite(gradient).all()
        assert gradient.any()


def tokenizer_in_float16(decay: float | None, jit_compile: bool = False) -> VQVAE:
    quantizer = VectorQuantizer(8, 4, decay=decay, restart_below=0.3)
    keras.utils.set_random_seed(0)
    tokenizer = VQVAE((4, 8, 1), quantizer, DiscretizedLogistic(16), filters=6, dtype="mixed_float16")
    optimizer = keras.optimizers.AdamW(0.01, global_clipnorm=1.0, use_ema=True)
    tokenizer.compile(optimizer=optimizer, jit_compile=jit_compile)
    return tokenizer


@pytest.mark.slow("False")
@pytest.mark.each_once
@pytest.mark.parametrize("decay", [0.9, None])
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.xla)])
def test_a_step_that_overflows_moves_nothing(decay: float | None, jit_compile: bool) -> None:
    images = integers(32, 4, 8, 1, top=16)
    tokenizer = tokenizer_in_float16(decay, jit_compile)
    tokenizer.fit(images, epochs=2, verbose=0)
    optimizer = tokenizer.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    inner = [*tokenizer.weights, *optimizer.inner_optimizer.variables]
    before, scale = [np.array(weight) for weight in inner], 2.0**126
    optimizer.dynamic_scale.assign(scale)
    loss = tokenizer.fit(images, verbose=0).history["loss"][0]
    assert math.isfinite(loss)
    assert float(optimizer.dynamic_scale) == scale / 2
    for weight, value in zip(inner, before, strict=True):
        np.testing.assert_array_equal(weight, value)
    optimizer.dynamic_scale.assign(1024.0)
    tokenizer.fit(images, verbose=0)
    moved = {weight.path for weight, value in zip(inner, before, strict=True) if np.any(weight != value)}
    assert {weight.path for weight in tokenizer.trainable_weights} <= moved
    assert tokenizer.quantizer._codebook.path in moved
    assert tokenizer.quantizer._counts.path in moved


def test_gradients_are_clipped_after_their_scale_is_taken_off() -> None:
    images = integers(8, 4, 6, 1)

    def step(policy: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
        prior = randomise(PixelCNN((4, 6, 1), Categorical(4), filters=12, num_layers=1, dtype=policy))
        prior.compile(optimizer=keras.optimizers.SGD(1.0, global_clipnorm=1e-3), jit_compile=False)
        before = prior.get_weights()
        prior.train_on_batch(images)
        return before, prior.get_weights()

    for policy in MIXED:
        before, after = step(policy)
        moved = math.sqrt(sum(np.sum((new - old) ** 2) for old, new in zip(before, after, strict=True)))
        assert moved == pytest.approx(1e-3, rel=1e-3)
        direction = np.concatenate([np.ravel(new - old) for old, new in zip(before, after, strict=True)])
        exact = np.concatenate([np.ravel(new - old) for old, new in zip(*step("float32"), strict=True)])
        assert np.dot(direction, exact) / 1e-6 == pytest.approx(1.0, abs=1e-2)


@each_policy
def test_codebooks_and_what_they_follow_are_float32(policy: str) -> None:
    for entry in TOKENIZERS:
        half, exact = both(entry, policy)
        assert all(weight.dtype in ("float32", "bool") for weight in half.weights)
        outputs = half(entry.inputs(), training=True)
        for part in keras.tree.flatten([outputs.loss, outputs.statistics]):
            assert part.dtype == "float32"
        codes = exact.encode(entry.inputs())
        for ours, theirs, grid in zip(half.quantizers, exact.quantizers, half.grids_of(codes), strict=True):
            vectors = ours.decode(grid)
            assert vectors.dtype == "float32"
            np.testing.assert_array_equal(vectors, theirs.decode(grid))


@pytest.mark.parametrize("make", [lambda: PixelCNN((4, 6, 1), Categorical(4), 12, 1), VQVAE])
def test_the_global_policy_is_as_one_of_its_own(make: Callable[..., Any]) -> None:
    if make is VQVAE:
        make = lambda: VQVAE((4, 8, 1), VectorQuantizer(8, 4), DiscretizedLogistic(16), filters=6)  # noqa: E731
    with global_policy("mixed_bfloat16"):
        model = randomise(make())
        copy = in_float32(model)
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert {layer.compute_dtype for layer in model._flatten_layers()} == {"bfloat16"}
    assert {layer.compute_dtype for layer in copy._flatten_layers()} == {"float32"}
    for ours, theirs in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
