"""Quantizers: gradients by hand, nearest codes by search, codebooks that follow, restart and do not leak.

Shapes: N vectors · D their size · K codes · G codes of a vector.
"""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features

from tfprior.quantizers import (
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)
from tfprior.quantizers.nearest import nearest_codes
from tfprior.tokenizers.usage import CodebookUsage

BETA = 0.25


def quantizer(codebook: Any, **options: Any) -> VectorQuantizer:
    """A vector quantizer with this codebook, without restarts."""
    codebook = np.asarray(codebook, "float32")
    layer = VectorQuantizer(*codebook.shape, **{"restart_below": None, **options})
    layer.build((None, codebook.shape[1]))
    layer._codebook.assign(codebook)
    return layer


def gradient(function: Any, at: Any) -> np.ndarray:
    x = tf.convert_to_tensor(at)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
    return np.asarray(tape.gradient(y, x))


def counts_of(codes: Any, size: int) -> np.ndarray:
    flat = np.asarray(codes).reshape(-1, codes.shape[-1])
    return np.stack([np.bincount(column, minlength=size) for column in flat.T]).astype("float32")


SMALL = {
    "vector": lambda: VectorQuantizer(8, 6),
    "cosine": lambda: VectorQuantizer(8, 6, metric="cosine", gradient="rotation", entropy_weight=0.1),
    "gradients": lambda: VectorQuantizer(8, 6, decay=None, restart_below=None),
    "residual": lambda: ResidualVectorQuantizer([VectorQuantizer(8, 6) for _ in range(3)]),
    "product": lambda: ProductQuantizer([VectorQuantizer(8, 2), VectorQuantizer(8, 4)]),
    "finite": lambda: FiniteScalarQuantizer((4, 3, 2, 2, 5, 2)),
    "lookup-free": lambda: LookupFreeQuantizer(6),
}
each_quantizer = pytest.mark.parametrize("name", SMALL)


def trained(name: str, x: np.ndarray) -> Any:
    layer = SMALL[name]()
    layer(x)
    layer.initialize(x)
    return layer


# What all of them do -------------------------------------------------------------------------------------


@each_quantizer
def test_codes_stand_for_the_quantized_vectors(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = trained(name, x)
    result = layer(x)
    assert (result.quantized.shape, result.quantized.dtype) == (x.shape, "float32")
    assert (result.codes.shape, result.codes.dtype) == ((2, 4, 5, layer.num_codes), "int32")
    assert 0 <= np.min(result.codes) <= np.max(result.codes) < layer.codebook_size
    np.testing.assert_allclose(layer.decode(result.codes), result.quantized, atol=1e-6)
    np.testing.assert_array_equal(layer.encode(x), result.codes)
    counts = counts_of(result.codes, layer.codebook_size)
    np.testing.assert_array_equal(result.statistics["counts"], counts)


@each_quantizer
def test_codes_do_not_depend_on_the_batch(name: str) -> None:
    x = features(4, 3, 5, 6)
    layer = trained(name, x)
    alone = np.concatenate([layer.encode(row[None]) for row in x])
    np.testing.assert_array_equal(layer.encode(x), alone)


@each_quantizer
def test_the_loss_is_the_same_in_training_and_evaluation(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = trained(name, x)
    assert float(layer(x, training=True).loss) == float(layer(x, training=False).loss)
    assert (float(layer(x).loss) != 0) == (name != "finite")


@each_quantizer
def test_a_forward_pass_leaves_the_codebook_alone_and_an_update_moves_what_learns(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = trained(name, x)
    before = layer.get_weights()
    statistics = layer(x + 0.3, training=True).statistics
    for kept, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)
    layer.update(statistics)
    moved = [not np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True)]
    assert any(moved) == (name not in ("finite", "lookup-free"))


@each_quantizer
def test_gradients_reach_every_input_and_are_finite(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = trained(name, x)
    weights = features(2, 4, 5, 6, seed=1)
    slopes = gradient(lambda z: tf.reduce_sum(weights * layer(z).quantized) + layer(z).loss, x)
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes).max(-1) > 0).all()


@each_quantizer
def test_mixed_bfloat16_looks_up_in_float32(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = trained(name, x)
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    half(x)
    half.set_weights(layer.get_weights())
    rounded = np.asarray(tf.cast(tf.cast(x, "bfloat16"), "float32"))
    result = half(rounded)
    assert result.quantized.dtype == "bfloat16"
    assert result.loss.dtype == "float32"
    np.testing.assert_array_equal(result.codes, half.encode(rounded))
    np.testing.assert_array_equal(result.quantized, half.decode(result.codes))
    if name != "residual":  # whose remainders are of rounded vectors
        np.testing.assert_array_equal(result.codes, layer.encode(rounded))


@each_quantizer
def test_another_size_of_vectors_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"got vectors of size 7; expected 6"):
        SMALL[name]()(features(2, 3, 7))


# The vector quantizer ------------------------------------------------------------------------------------


def test_what_vectors_have_in_common_costs_no_digits() -> None:
    x, codebook = features(500, 16), features(64, 16, seed=1)
    expected = nearest_codes(x, codebook)
    np.testing.assert_array_equal(nearest_codes(8 * x + 4096, 8 * codebook + 4096), expected)


def test_a_batch_that_diverged_leaves_the_codebook() -> None:
    layer = trained("vector", features(50, 6))
    before = np.asarray(layer.codebook)
    layer.update(layer(np.full((50, 6), np.nan, "float32"), training=True).statistics)
    np.testing.assert_array_equal(layer.codebook, before)


def test_dead_codes_restart_in_a_codebook_that_gradients_move() -> None:
    keras.utils.set_random_seed(0)
    layer = VectorQuantizer(8, 6, decay=None, initialization="uniform")
    x = 5 + features(200, 6)
    before = (counts_of(layer(x).codes, 8) > 0).sum()
    for _ in range(400):
        layer.update(layer(x, training=True).statistics)
    assert (counts_of(layer(x).codes, 8) > 0).sum() > before


def test_a_vector_without_length_keeps_its_gradient() -> None:
    layer = quantizer(np.eye(3), gradient="rotation")
    np.testing.assert_array_equal(
        gradient(lambda z: tf.reduce_sum(layer(z).quantized), np.zeros((1, 3), "float32")), np.ones((1, 3))
    )


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_nearest_codes_are_found(scale: float) -> None:
    vectors, codebook = scale * features(200, 5), scale * features(17, 5, seed=1)
    distances = ((vectors[:, None].astype("float64") - codebook) ** 2).sum(-1)
    codes = np.asarray(nearest_codes(vectors, codebook))
    np.testing.assert_allclose(distances[np.arange(200), codes], distances.min(1), rtol=1e-4)
    assert (codes == distances.argmin(1)).mean() > 0.99


def test_two_codes_by_hand() -> None:
    # z = (1, 0), (0, 2) · e = (0, 0), (0, 1): both z choose by distance 1 and √1.
    z = np.array([[1.0, 0.0], [0.0, 2.0]], "float32")
    layer = quantizer([[0.0, 0.0], [0.0, 1.0]], decay=None)
    result = layer(z)
    np.testing.assert_array_equal(result.codes, [[0], [1]])
    distance = np.array([[1.0, 0.0], [0.0, 1.0]])  # z − e
    # Mean over N·D = 4 numbers: (1 + β) · 2 / 4.
    assert float(result.loss) == pytest.approx((1 + BETA) * 2 / 4)
    # β pulls at z only, the codebook's own term at e only.
    np.testing.assert_allclose(gradient(lambda x: layer(x).loss, z), BETA * 2 * distance / 4)
    with tf.GradientTape() as tape:
        loss = layer(z).loss
    slopes = tf.convert_to_tensor(tape.gradient(loss, layer._codebook.value))
    np.testing.assert_allclose(slopes, -2 * distance / 4)


@pytest.mark.parametrize("decay", [None, 0.9])
def test_gradients_pass_straight_through(decay: float | None) -> None:
    layer = quantizer(features(8, 6), decay=decay)
    weights = features(10, 6, seed=2)
    slopes = gradient(lambda z: tf.reduce_sum(weights * layer(z).quantized), features(10, 6, seed=1))
    np.testing.assert_array_equal(slopes, weights)


def test_the_rotation_turns_gradients_as_the_vector_was_turned() -> None:
    codebook, z, weights = features(8, 6), features(10, 6, seed=1), features(10, 6, seed=2)
    layer = quantizer(codebook, gradient="rotation")
    result = layer(z)
    chosen = codebook[np.asarray(result.codes)[:, 0]]
    np.testing.assert_array_equal(result.quantized, chosen)
    slopes = gradient(lambda x: tf.reduce_sum(weights * layer(x).quantized), z)
    for vector, code, weight, slope in zip(z, chosen, weights, slopes, strict=True):
        a, b = vector / np.linalg.norm(vector), code / np.linalg.norm(code)
        middle = (a + b) / np.linalg.norm(a + b)
        rotation = np.eye(6) - 2 * np.outer(middle, middle) + 2 * np.outer(b, a)
        size = np.linalg.norm(code) / np.linalg.norm(vector)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(6), atol=1e-5)
        np.testing.assert_allclose(size * rotation @ vector, code, atol=1e-5)
        np.testing.assert_allclose(slope, size * rotation.T @ weight, atol=1e-5)


def test_cosine_codes_have_length_one_and_ignore_the_length_of_vectors() -> None:
    layer = quantizer(features(8, 6), metric="cosine")
    x = features(10, 6, seed=1)
    np.testing.assert_allclose(np.linalg.norm(layer(x).quantized, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(layer.encode(7 * x), layer.encode(x))


def test_the_entropy_loss_is_the_definition() -> None:
    codebook, z = features(5, 3), features(20, 3, seed=1)
    plain = quantizer(codebook)
    layer = quantizer(codebook, entropy_weight=0.7, entropy_temperature=2.0)
    distances = ((z[:, None].astype("float64") - codebook) ** 2).sum(-1)
    p = np.exp(-distances / 2)
    p /= p.sum(1, keepdims=True)
    mean = p.mean(0)
    expected = -(p * np.log(p)).sum(1).mean() + (mean * np.log(mean)).sum()
    assert float(layer(z).loss - plain(z).loss) == pytest.approx(0.7 * expected, rel=1e-4)


# The moving average --------------------------------------------------------------------------------------


def test_the_codebook_follows_the_mean_of_its_vectors() -> None:
    codebook, z = features(6, 4), features(50, 4, seed=1)
    layer = quantizer(codebook, decay=0.8)
    sums, sizes = codebook.astype("float64"), np.ones(6)
    for round_ in range(3):
        batch = z + round_
        result = layer(batch, training=True)
        # Looked up in the codebook from before the update.
        codes = ((batch[:, None] - sums / sizes[:, None]) ** 2).sum(-1).argmin(1)
        np.testing.assert_array_equal(result.codes[:, 0], codes)
        layer.update(result.statistics)
        for code in range(6):
            sums[code] = 0.8 * sums[code] + 0.2 * batch[codes == code].sum(0)
            sizes[code] = 0.8 * sizes[code] + 0.2 * (codes == code).sum()
        np.testing.assert_allclose(layer.codebook, sums / sizes[:, None], rtol=1e-4, atol=1e-5)


def test_codes_that_nothing_chose_stay_to_the_last_bit() -> None:
    codebook = np.concatenate([features(3, 4), 1e4 + features(3, 4, seed=1)])
    layer = quantizer(codebook, decay=0.9)
    for seed in range(200):
        layer.update(layer(features(9, 4, seed=seed), training=True).statistics)
    np.testing.assert_array_equal(np.asarray(layer.codebook)[3:], codebook[3:])
    assert np.abs(np.asarray(layer.codebook)[:3]).max() < 10


def test_dead_codes_restart_from_vectors_of_the_batch() -> None:
    codebook = np.concatenate([features(3, 4), 1e4 + features(3, 4, seed=1)])
    layer = quantizer(codebook, decay=0.5, restart_below=0.1)
    z = features(30, 4, seed=2)
    for _ in range(10):
        layer.update(layer(z, training=True).statistics)
        restarted = np.asarray(layer.codebook)[3:]
        if np.abs(restarted).max() < 1e3:
            break
        np.testing.assert_array_equal(restarted, codebook[3:])
    for vector in restarted:
        assert (z == vector).all(1).any()
    assert len(np.unique(restarted, axis=0)) == 3
    counts = np.asarray(layer._counts)
    np.testing.assert_allclose(counts[3:], counts[3])
    assert counts[3] > counts[:3].min() / 2
    # With a full count they are not dead at once again.
    layer.update(layer(z, training=True).statistics)
    assert np.abs(np.asarray(layer.codebook)).max() < 10


@pytest.mark.parametrize("initialization", ["kmeans", "data", "uniform"])
def test_the_codebook_starts_from_data(initialization: Any) -> None:
    centres = 10 * features(4, 3)
    z = (centres[:, None] + 0.01 * features(4, 25, 3, seed=1)).reshape(-1, 3)
    layer = VectorQuantizer(4, 3, initialization=initialization)
    layer(z)
    before = np.asarray(layer.codebook)
    layer.initialize(z)
    after = np.asarray(layer.codebook)
    if initialization == "uniform":
        np.testing.assert_array_equal(after, before)
        assert np.abs(before).max() <= 1 / 4
    elif initialization == "data":
        assert all((z == code).all(1).any() for code in after)
    else:
        assert np.mean((np.asarray(layer(z).quantized) - z) ** 2) < 1e-3


def test_fewer_different_vectors_than_codes_set_as_many() -> None:
    layer = VectorQuantizer(8, 3)
    z = features(5, 3)
    layer(z)
    layer.initialize(np.concatenate([z, z, z[:1]]))
    np.testing.assert_array_equal(np.unique(np.asarray(layer.codebook)[:5], axis=0), np.unique(z, axis=0))
    assert np.mean((np.asarray(layer(z).quantized) - z) ** 2) == 0


# Several quantizers --------------------------------------------------------------------------------------


def test_every_stage_of_a_residual_quantizer_feels_its_remainder() -> None:
    x = features(60, 6)
    layer = trained("residual", x)
    weights = features(60, 6, seed=2)
    slopes = gradient(lambda z: tf.reduce_sum(weights * layer(z).quantized), x)
    np.testing.assert_array_equal(slopes, weights)

    total, expected = np.zeros_like(x), np.zeros_like(x)
    for each in layer.quantizers:
        remainder = x - total
        code = np.asarray(each.decode(each.encode(remainder)))
        pull = BETA * 2 * (remainder - code) / remainder.size
        assert np.abs(pull).max() > 1e-4
        expected += pull / 3
        total += code
    np.testing.assert_allclose(gradient(lambda z: layer(z).loss, x), expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(layer(x).quantized, total, atol=1e-6)


def test_each_residual_code_brings_the_sum_nearer() -> None:
    x = features(200, 6)
    layer = trained("residual", x)
    codes = np.asarray(layer.encode(x))
    partial = np.cumsum([each.decode(codes[:, i : i + 1]) for i, each in enumerate(layer.quantizers)], axis=0)
    errors = ((partial - x) ** 2).mean((1, 2))
    assert errors[0] > errors[1] > errors[2]


def test_the_heads_of_a_product_see_their_part_only() -> None:
    x = features(10, 6)
    layer = trained("product", x)
    other = np.concatenate([x[:, :2], features(10, 4, seed=5)], axis=1)
    np.testing.assert_array_equal(layer.encode(other)[:, 0], layer.encode(x)[:, 0])
    np.testing.assert_array_equal(
        layer.quantizers[1].encode(x[:, 2:])[:, 0], np.asarray(layer.encode(x))[:, 1]
    )


# Without a codebook --------------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [(2,), (3, 4), (8, 5, 5)])
def test_finite_scalars_have_a_code_for_every_combination(levels: tuple[int, ...]) -> None:
    layer = FiniteScalarQuantizer(levels)
    codes = np.arange(layer.codebook_size, dtype="int32")[:, None]
    vectors = np.asarray(layer.decode(codes))
    assert len(np.unique(vectors, axis=0)) == len(codes)
    assert np.abs(vectors).max() <= 1
    for column, level in zip(vectors.T, levels, strict=True):
        steps = np.unique(column)
        assert len(steps) == level
        np.testing.assert_allclose(np.diff(steps), 1 / (level // 2), rtol=1e-6)
    # Far inputs reach the outermost levels, and each level has inputs of its own.
    inputs = list(itertools.product(np.linspace(-6, 6, 61), repeat=len(levels)))
    reached = np.unique(layer.encode(np.array(inputs, "float32")))
    np.testing.assert_array_equal(reached, codes[:, 0])


@pytest.mark.parametrize("levels", [(2, 2, 2), (3, 2), (8, 5, 5), (1025,)], ids=str)
def test_finite_scalars_use_every_level_near_zero(levels: tuple[int, ...]) -> None:
    layer = FiniteScalarQuantizer(levels)
    x = np.random.default_rng(0).normal(0, 1, (20_000, len(levels))).astype("float32")
    used = np.asarray(layer(x).statistics["counts"])[0]
    assert (used > 0).mean() > 0.4  # of 1025 levels most lie in the tails of the tanh
    if max(levels) < 9:
        assert used.max() < 4 * used.mean()
    slope = gradient(lambda z: tf.reduce_sum(layer(z).quantized), np.zeros((1, len(levels)), "float32"))
    assert (slope > 0.3).all()
    edges = layer(np.array([[-1e9], [1e9]], "float32").repeat(len(levels), 1)).codes
    np.testing.assert_array_equal(edges, [[0], [layer.codebook_size - 1]])


def test_finite_scalars_pass_the_slope_of_their_bound() -> None:
    layer = FiniteScalarQuantizer((5, 5))
    x = features(10, 2)
    slopes = gradient(lambda z: tf.reduce_sum(layer(z).quantized), x)
    np.testing.assert_allclose(slopes, 2.002 * (1 - np.tanh(x) ** 2) / 2, rtol=1e-5)


def test_lookup_free_codes_are_the_bits_of_the_signs() -> None:
    layer = LookupFreeQuantizer(4)
    codes = np.arange(16, dtype="int32")[:, None]
    bits = np.array([[code >> place & 1 for place in range(4)] for code in range(16)])
    np.testing.assert_array_equal(layer.decode(codes), 2 * bits - 1)
    np.testing.assert_array_equal(layer.encode((2.0 * bits - 1).astype("float32") * 0.3), codes)


def test_the_entropy_of_bits_is_the_definition() -> None:
    x = features(20, 3)
    layer = LookupFreeQuantizer(3, commitment_weight=0.0, entropy_weight=0.5, entropy_temperature=2.0)
    p = 1 / (1 + np.exp(-2 * x.astype("float64")))

    def entropy(p: np.ndarray) -> np.ndarray:
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    expected = (entropy(p).mean(0) - entropy(p.mean(0))).sum()
    assert float(layer(x).loss) == pytest.approx(0.5 * expected, rel=1e-4)


# Usage ---------------------------------------------------------------------------------------------------


def test_usage_is_that_of_the_whole_epoch() -> None:
    usage = CodebookUsage([(2, 4)])
    usage.update_state([[[4.0, 0, 0, 0], [1, 1, 1, 1]]])
    usage.update_state([[[0.0, 4, 0, 0], [1, 1, 1, 1]]])
    result = {name: float(value) for name, value in usage.result().items()}
    assert result == pytest.approx({"perplexity": (2 + 4) / 2, "usage": (0.5 + 1) / 2, "dead_codes": 2})
    usage.reset_state()
    assert float(usage.result()["dead_codes"]) == 8


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VectorQuantizer(0, 4), r"codebook_size=0; expected a positive integer"),
        (lambda: VectorQuantizer(4, 2.5), r"code_dim=2.5; expected a positive integer"),
        (lambda: VectorQuantizer(4, 2, metric="dot"), r"metric='dot'; expected one of euclidean, cosine"),
        (lambda: VectorQuantizer(4, 2, gradient="none"), r"gradient='none'; expected one of"),
        (lambda: VectorQuantizer(4, 2, initialization="ones"), r"initialization='ones'; expected one of"),
        (lambda: VectorQuantizer(4, 2, decay=1.0), r"decay=1.0; expected a number between 0 and 1"),
        (lambda: VectorQuantizer(4, 2, restart_below=2), r"restart_below=2; expected a number between"),
        (lambda: VectorQuantizer(4, 2, commitment_weight=-1), r"commitment_weight=-1"),
        (lambda: VectorQuantizer(4, 2, entropy_temperature=0), r"entropy_temperature=0"),
        (lambda: FiniteScalarQuantizer(()), r"levels=\(\); expected whole numbers of 2 or more"),
        (lambda: FiniteScalarQuantizer((8, 1)), r"levels=\(8, 1\)"),
        (lambda: FiniteScalarQuantizer((8,) * 9), r"134,217,728 codes; expected at most 2\^24"),
        (lambda: ResidualVectorQuantizer([VectorQuantizer(4, 2)] * 2), r"got a quantizer twice"),
        (lambda: LookupFreeQuantizer(30), r"num_bits=30; expected a number in \[1, 24\]"),
        (lambda: LookupFreeQuantizer(3, entropy_weight=-1), r"entropy_weight=-1"),
        (lambda: ProductQuantizer([]), r"quantizers=\[\]; expected one or more"),
        (lambda: ProductQuantizer([VectorQuantizer(4, 2), VectorQuantizer(8, 2)]), r"of \[4, 8\] codes"),
        (
            lambda: ResidualVectorQuantizer([VectorQuantizer(4, 2), VectorQuantizer(4, 3)]),
            r"of sizes \[2, 3\]",
        ),
    ],
)
def test_bad_options_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_a_quantizer_survives_a_keras_file(tmp_path: Any) -> None:
    x = features(2, 4, 5, 6)
    layer = trained("residual", x)
    inputs = keras.Input((4, 5, 6))
    keras.Model(inputs, layer(inputs).codes).save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(x), layer.encode(x))
