"""VQ-VAE: likelihood, codes and images, training of network and codebook, files, errors.

Shapes: B batch · H W C image · h w G codes · K kinds of code.
"""

import functools
import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import TOKENIZERS, Entry, integers, randomise

from tfprior.distributions import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture, Gaussian
from tfprior.priors import GatedPixelCNN
from tfprior.quantizers import FiniteScalarQuantizer, ResidualVectorQuantizer, VectorQuantizer
from tfprior.tokenizers import VQVAE
from tfprior.tokenizers.usage import CodebookUsage

each_tokenizer = pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
SHAPE = (8, 4, 1)


def small(**changes: Any) -> VQVAE:
    given = {
        "image_shape": SHAPE,
        "quantizer": VectorQuantizer(8, 4),
        "distribution": DiscretizedLogistic(16),
        "downsampling": 2,
        "filters": 8,
        "num_residual_blocks": 1,
        "residual_filters": 4,
    }
    return VQVAE(**{**given, **changes})


def pictures(count: int, seed: int = 0) -> np.ndarray:
    """Slopes of random directions: (N, 8, 4, 1) of 16 levels."""
    rng = np.random.default_rng(seed)
    along = rng.normal(size=(count, 2))
    y, x = np.mgrid[-1:1:8j, -1:1:4j]
    slopes = along[:, 0, None, None] * y + along[:, 1, None, None] * x
    return np.clip(np.rint(7.5 + 5 * slopes), 0, 15).astype("int32")[..., None]


@functools.cache
def trained() -> VQVAE:
    keras.utils.set_random_seed(0)
    tokenizer = small(filters=16)
    tokenizer.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    tokenizer.fit(pictures(256), batch_size=32, epochs=25, verbose=0)
    return tokenizer


def trained_quantizer() -> VectorQuantizer:
    return trained().quantizer


def assert_equal(first: Any, second: Any) -> None:
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)


# Images and codes ----------------------------------------------------------------------------------------


@each_tokenizer
def test_codes_and_images_have_the_shapes_of_the_contract(entry: Entry) -> None:
    tokenizer, images = randomise(entry.build()), entry.inputs()
    codes = tokenizer.encode(images)
    shapes_and_sizes = zip(tokenizer.code_shapes, tokenizer.codebook_sizes, strict=True)
    for grid, (shape, size) in zip(keras.tree.flatten(codes), shapes_and_sizes, strict=True):
        assert (grid.shape, grid.dtype) == ((3, *shape), "int32")
        assert 0 <= grid.min() <= grid.max() < size
    means = tokenizer.decode(codes)
    assert (means.shape, means.dtype) == (images.shape, "float32")
    assert 0 <= means.min() < means.max() <= tokenizer.distribution.num_levels - 1
    again = tokenizer.reconstruct(images)
    assert (again.shape, again.dtype) == (images.shape, "int32")
    np.testing.assert_array_equal(again, np.rint(means))


@each_tokenizer
def test_tensors_of_one_batch_go_both_ways_inside_a_graph(entry: Entry) -> None:
    tokenizer, images = randomise(entry.build()), entry.inputs()
    encode, decode = (
        tf.function(each, autograph=False) for each in (tokenizer.encode_batch, tokenizer.decode_batch)
    )
    codes = encode(tf.constant(images))
    assert_equal(codes, tokenizer.encode(images))
    np.testing.assert_allclose(decode(codes), tokenizer.decode(tokenizer.encode(images)), atol=1e-4)


@each_tokenizer
def test_batches_make_no_difference(entry: Entry) -> None:
    tokenizer, images = randomise(entry.build()), np.concatenate([entry.inputs()] * 3)[:7]
    codes = tokenizer.encode(images)
    assert_equal(tokenizer.encode(images, batch_size=3), codes)
    np.testing.assert_allclose(tokenizer.decode(codes, batch_size=2), tokenizer.decode(codes), atol=1e-4)


@each_tokenizer
def test_the_call_gives_the_codes_and_the_parameters_of_the_decoded_images(entry: Entry) -> None:
    tokenizer, images = randomise(entry.build()), entry.inputs()
    result = tokenizer(images)
    assert_equal(result.codes, tokenizer.encode(images))
    params = tokenizer.params(result.codes)
    np.testing.assert_allclose(result.params, params, atol=1e-5)
    assert result.params.shape[-1] == tokenizer.distribution.num_params(images.shape[-1])


@pytest.mark.slow("[4-0]", "Gaussian")
@pytest.mark.parametrize(
    "changes",
    [
        {"downsampling": 1},
        {"downsampling": 4, "num_residual_blocks": 0},
        {"quantizer": FiniteScalarQuantizer((4, 3, 2))},
        {"quantizer": ResidualVectorQuantizer([VectorQuantizer(8, 4), VectorQuantizer(8, 4)])},
        {"distribution": Categorical(16)},
        {"distribution": DiscretizedLogisticMixture(2, 16)},
        {"distribution": Gaussian(16, 0.2)},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())).split(",")[0],
)
def test_every_quantizer_and_distribution_trains(changes: Any) -> None:
    tokenizer = small(**changes)
    tokenizer.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    history = tokenizer.fit(pictures(64), batch_size=16, epochs=4, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0]
    codes = tokenizer.encode(pictures(5))
    assert codes.shape == (5, *tokenizer.code_shape)
    assert codes.shape[1:3] == (8 // tokenizer.downsampling, 4 // tokenizer.downsampling)


# Likelihood ----------------------------------------------------------------------------------------------


def test_the_bound_is_the_images_given_their_codes_and_the_codes() -> None:
    tokenizer, images = trained(), pictures(20, seed=1)
    scores = tokenizer.evaluate(images, batch_size=7, verbose=0, return_dict=True)
    result = tokenizer(images)
    nats = -np.asarray(tokenizer.distribution.log_prob(result.params, images)).sum((1, 2))
    given = nats.mean() / 32 / math.log(2)
    assert scores["reconstruction_bits_per_dim"] == pytest.approx(given, rel=1e-4)
    assert scores["bits_per_dim"] == pytest.approx(given + 4 * 2 * 3 / 32, rel=1e-4)  # 8 codes of 3 bits
    loss = np.mean([float(tokenizer(images[i : i + 7]).loss) * len(images[i : i + 7]) for i in (0, 7, 14)])
    assert scores["loss"] == pytest.approx(nats.mean() / 32 + loss * 3 / 20, rel=1e-3)
    counts = np.bincount(np.asarray(result.codes).ravel(), minlength=8)
    assert scores["dead_codes"] == (counts == 0).sum()
    share = counts[counts > 0] / counts.sum()
    assert scores["perplexity"] == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-4)


def test_reconstructions_resemble_their_images() -> None:
    images = pictures(50, seed=2)
    error = np.abs(trained().reconstruct(images) - images).mean()
    assert error < 0.5 * np.abs(images.mean(0) - images).mean()


def test_usage_is_that_of_the_whole_epoch() -> None:
    usage = CodebookUsage([(2, 4)])
    usage.update_state([[[4.0, 0, 0, 0], [1, 1, 1, 1]]])
    usage.update_state([[[0.0, 4, 0, 0], [1, 1, 1, 1]]])
    result = {name: float(value) for name, value in usage.result().items()}
    assert result == pytest.approx({"perplexity": (2 + 4) / 2, "usage": (0.5 + 1) / 2, "dead_codes": 2})
    usage.reset_state()
    assert float(usage.result()["dead_codes"]) == 8


# Training ------------------------------------------------------------------------------------------------


def test_training_moves_the_codebook_by_its_statistics_alone() -> None:
    tokenizer = small(quantizer=VectorQuantizer(8, 4, decay=0.9, restart_below=None))
    images = pictures(6)
    tokenizer.initialize(images)
    tokenizer.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    other = VQVAE.from_config(tokenizer.get_config())
    other.set_weights(tokenizer.get_weights())
    tokenizer.fit(images, batch_size=6, shuffle=False, verbose=0)
    (statistics,) = other(images, training=True).statistics
    other.quantizer.update(statistics)
    for ours, theirs in zip(tokenizer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_evaluation_changes_nothing() -> None:
    tokenizer = trained()
    before = tokenizer.get_weights()
    tokenizer.evaluate(pictures(20), verbose=0)
    tokenizer.encode(pictures(20))
    for kept, now in zip(before, tokenizer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_gradients_are_finite_and_reach_every_weight() -> None:
    tokenizer = randomise(small())
    images = pictures(6)
    with tf.GradientTape() as tape:
        loss = tokenizer.compute_loss(images, y_pred=tokenizer(images, training=True), training=False)
    for gradient in tape.gradient(loss, [weight.value for weight in tokenizer.trainable_weights]):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.xla
def test_fit_starts_the_codebook_from_its_first_batch_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches, initialize = [], VQVAE.initialize
    monkeypatch.setattr(
        VQVAE, "initialize", lambda self, batch: batches.append(batch) or initialize(self, batch)
    )

    def fit(tokenizer: VQVAE) -> None:
        tokenizer.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
        tokenizer.fit(pictures(16), batch_size=8, verbose=0)

    tokenizer, other = small(), small()
    assert tokenizer.needs_initialization
    fit(tokenizer)
    assert len(batches) == 1
    np.testing.assert_array_equal(batches[0], pictures(16)[::2])
    fit(tokenizer)
    tokenizer.save(tmp_path / "tokenizer.keras")
    fit(keras.saving.load_model(tmp_path / "tokenizer.keras"))
    other.set_weights(tokenizer.get_weights())
    fit(other)
    assert len(batches) == 1


def test_quantizers_without_a_codebook_need_no_first_batch() -> None:
    for quantizer in (FiniteScalarQuantizer((4, 4)), VectorQuantizer(8, 4, initialization="uniform")):
        assert not small(quantizer=quantizer).needs_initialization


def test_sample_weights_count() -> None:
    tokenizer, images = trained(), pictures(8, seed=3)
    weights = np.array([1.0, 0, 0, 0, 1, 0, 0, 0], "float32")
    scores = tokenizer.evaluate(images, sample_weight=weights, verbose=0, return_dict=True)
    alone = tokenizer.evaluate(images[[0, 4]], verbose=0, return_dict=True)
    assert scores["bits_per_dim"] == pytest.approx(alone["bits_per_dim"], rel=1e-4)


def test_mixed_bfloat16_trains() -> None:
    tokenizer = small(dtype="mixed_bfloat16")
    tokenizer.compile(optimizer="adam", run_eagerly=True)
    history = tokenizer.fit(pictures(16), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in tokenizer.get_weights())


# Files and priors ----------------------------------------------------------------------------------------


@each_tokenizer
def test_a_tokenizer_survives_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    tokenizer, images = randomise(entry.build()), entry.inputs()
    tokenizer.compile(optimizer="adam", run_eagerly=True)
    tokenizer.fit(images, verbose=0)
    tokenizer.save(tmp_path / "tokenizer.keras")
    loaded = keras.saving.load_model(tmp_path / "tokenizer.keras")
    assert type(loaded) is entry.kind
    assert loaded.get_config() == tokenizer.get_config()
    codes = tokenizer.encode(images)
    assert_equal(loaded.encode(images), codes)
    np.testing.assert_array_equal(loaded.decode(codes), tokenizer.decode(codes))


def test_a_prior_learns_the_codes() -> None:
    codes = trained().encode(pictures(64))
    prior = GatedPixelCNN(
        trained().code_shape, Categorical(8), filters=8, num_layers=1, value_embedding_dim=4
    )
    prior.compile(optimizer=keras.optimizers.Adam(0.02), jit_compile=False)
    history = prior.fit(codes, epochs=3, verbose=0).history
    assert history["bits_per_dim"][-1] < history["bits_per_dim"][0]


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"downsampling": 3}, r"downsampling=3; expected a power of 2"),
        ({"downsampling": 8}, r"images of 8 × 4, to be downsampled 8 times; expected height and width"),
        ({"filters": 0}, r"filters=0; expected a positive integer"),
        ({"filters": True}, r"filters=True; expected a positive integer"),
        ({"num_residual_blocks": -1}, r"num_residual_blocks=-1; expected an integer, 0 or more"),
        ({"image_shape": (8, 4)}, r"grid_shape=\(8, 4\) is not a grid"),
        ({"downsampling": 2.0}, r"downsampling=2.0; expected a power of 2"),
        ({"downsampling": True}, r"downsampling=True; expected a power of 2"),
        ({"num_residual_blocks": True}, r"num_residual_blocks=True; expected an integer, 0 or more"),
        ({"quantizer": trained_quantizer}, r"got a VectorQuantizer that is built already"),
        ({"quantizer": None}, r"quantizer=None; expected one of tfprior.quantizers"),
        ({"distribution": "mse"}, r"distribution='mse'; expected one of tfprior.distributions"),
    ],
)
def test_bad_options_are_refused(changes: Any, message: str) -> None:
    given = {name: value() if callable(value) else value for name, value in changes.items()}
    with pytest.raises(ValueError, match=message):
        small(**given)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (integers(2, 8, 4, 1, top=20) + 16, r"images lie in \[16, \d+\]; expected integers in \[0, 15\]"),
        (np.zeros((2, 8, 5, 1), "int32"), r"images have shape \(2, 8, 5, 1\); expected \(batch, 8, 4, 1\)"),
        (np.zeros((2, 8, 4, 1), "float32"), r"images have dtype float32; expected integers"),
    ],
)
def test_bad_images_are_refused(images: Any, message: str) -> None:
    tokenizer = small()
    for take in (tokenizer.encode, tokenizer.reconstruct, tokenizer.initialize, tokenizer.fit):
        with pytest.raises(ValueError, match=message):
            take(images)


def test_bad_codes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"codes lie in \[8, 8\]; expected integers in \[0, 7\]"):
        small().decode(np.full((2, 4, 2, 1), 8))
    with pytest.raises(ValueError, match=r"codes have shape \(2, 4, 2\); expected \(batch, 4, 2, 1\)"):
        small().decode(np.zeros((2, 4, 2), "int32"))
    with pytest.raises(
        ValueError, match=r"VectorQuantizer got codes in \[8, 8\]; expected integers in \[0, 7\]"
    ):
        small().decode_batch(np.full((2, 4, 2, 1), 8))


def test_a_condition_is_refused() -> None:
    with pytest.raises(ValueError, match="A tokenizer has no condition"):
        small().fit({"values": pictures(4), "condition": np.zeros(4, "int32")})
