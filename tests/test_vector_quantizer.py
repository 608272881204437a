"""The vector quantizer: gradients by hand, nearest codes by search, a codebook that follows and restarts.

Shapes: N vectors · D their size · K codes.
"""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features
from small_quantizers import counts_of, gradient, with_codebook

from tfprior.quantizers import VectorQuantizer
from tfprior.quantizers.nearest import nearest_codes

BETA = 0.25


def test_what_vectors_have_in_common_costs_no_digits() -> None:
    x, codebook = features(500, 16), features(64, 16, seed=1)
    expected = nearest_codes(x, codebook)
    np.testing.assert_array_equal(nearest_codes(8 * x + 4096, 8 * codebook + 4096), expected)


def test_dead_codes_restart_in_a_codebook_that_gradients_move() -> None:
    keras.utils.set_random_seed(0)
    layer = VectorQuantizer(8, 6, decay=None, initialization="uniform")
    x = 5 + features(200, 6)
    before = (counts_of(layer(x).codes, 8) > 0).sum()
    for _ in range(400):
        layer(x, training=True)
    assert (counts_of(layer(x).codes, 8) > 0).sum() > before


def test_a_vector_without_length_keeps_its_gradient() -> None:
    layer = with_codebook(np.eye(3), gradient="rotation")
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
    layer = with_codebook([[0.0, 0.0], [0.0, 1.0]], decay=None)
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
    layer = with_codebook(features(8, 6), decay=decay)
    weights = features(10, 6, seed=2)
    slopes = gradient(lambda z: tf.reduce_sum(weights * layer(z).quantized), features(10, 6, seed=1))
    np.testing.assert_array_equal(slopes, weights)


def test_the_rotation_turns_gradients_as_the_vector_was_turned() -> None:
    codebook, z, weights = features(8, 6), features(10, 6, seed=1), features(10, 6, seed=2)
    layer = with_codebook(codebook, gradient="rotation")
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
    layer = with_codebook(features(8, 6), metric="cosine")
    x = features(10, 6, seed=1)
    np.testing.assert_allclose(np.linalg.norm(layer(x).quantized, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(layer.encode(7 * x), layer.encode(x))


def test_the_entropy_loss_is_the_definition() -> None:
    codebook, z = features(5, 3), features(20, 3, seed=1)
    plain = with_codebook(codebook)
    layer = with_codebook(codebook, entropy_weight=0.7, entropy_temperature=2.0)
    distances = ((z[:, None].astype("float64") - codebook) ** 2).sum(-1)
    p = np.exp(-distances / 2)
    p /= p.sum(1, keepdims=True)
    mean = p.mean(0)
    expected = -(p * np.log(p)).sum(1).mean() + (mean * np.log(mean)).sum()
    assert float(layer(z).loss - plain(z).loss) == pytest.approx(0.7 * expected, rel=1e-4)


# The moving average --------------------------------------------------------------------------------------


def test_the_codebook_follows_the_mean_of_its_vectors() -> None:
    codebook, z = features(6, 4), features(50, 4, seed=1)
    layer = with_codebook(codebook, decay=0.8)
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
    layer = with_codebook(codebook, decay=0.9)
    for seed in range(200):
        layer.update(layer(features(9, 4, seed=seed), training=True).statistics)
    np.testing.assert_array_equal(np.asarray(layer.codebook)[3:], codebook[3:])
    assert np.abs(np.asarray(layer.codebook)[:3]).max() < 10


def test_dead_codes_restart_from_vectors_of_the_batch() -> None:
    codebook = np.concatenate([features(3, 4), 1e4 + features(3, 4, seed=1)])
    layer = with_codebook(codebook, decay=0.5, restart_below=0.1)
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


# The start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("initialization", ["kmeans", "data", "uniform"])
def test_the_codebook_starts_from_data(initialization: Any) -> None:
    centres = 10 * features(4, 3)
    z = (centres[:, None] + 0.01 * features(4, 25, 3, seed=1)).reshape(-1, 3)
    layer = VectorQuantizer(4, 3, initialization=initialization)
    assert layer.needs_initialization == (initialization != "uniform")
    layer(z)
    before = np.asarray(layer.codebook)
    layer.initialize(z)
    assert not layer.needs_initialization
    after = np.asarray(layer.codebook)
    if initialization == "uniform":
        np.testing.assert_array_equal(after, before)
        assert np.abs(before).max() <= 1 / 4
    elif initialization == "data":
        assert all((z == code).all(1).any() for code in after)
    else:
        assert np.mean((np.asarray(layer(z).quantized) - z) ** 2) < 1e-3


def test_initialize_builds_the_layer() -> None:
    z = features(30, 2, 6)
    layer = VectorQuantizer(8, 6, initialization="data")
    layer.initialize(z)
    vectors = z.reshape(-1, 6)
    assert all((vectors == code).all(1).any() for code in np.asarray(layer.codebook))


@pytest.mark.parametrize("initialization", ["kmeans", "data", "uniform"])
@pytest.mark.parametrize("decay", [None, 0.9])
def test_without_initialize_the_first_training_step_sets_the_codebook(
    initialization: Any, decay: float | None
) -> None:
    layer = VectorQuantizer(8, 6, initialization=initialization, decay=decay, restart_below=None)
    z = 5 + features(64, 6)
    unchosen = counts_of(layer(z).codes, 8)[0] == 0
    before = np.asarray(layer.codebook)
    layer(z, training=True)
    first = np.asarray(layer.codebook)
    if initialization == "uniform":
        np.testing.assert_array_equal(first[unchosen], before[unchosen])
        return
    assert all((z == code).all(1).any() for code in first)
    assert len(np.unique(first, axis=0)) == 8
    assert not layer.needs_initialization
    layer(z, training=True)
    second = np.asarray(layer.codebook)
    assert np.array_equal(second, first) == (decay is None)  # which follows means from now on


def test_a_codebook_that_was_trained_needs_no_initialization_after_a_batch_that_diverged() -> None:
    layer = VectorQuantizer(8, 6)
    layer(np.full((4, 6), np.nan, "float32"), training=True)
    assert layer.needs_initialization
    layer(features(40, 6), training=True)
    assert not layer.needs_initialization


def test_fewer_different_vectors_than_codes_set_as_many() -> None:
    layer = VectorQuantizer(8, 3)
    z = features(5, 3)
    layer.initialize(np.concatenate([z, z, z[:1]]))
    np.testing.assert_array_equal(np.unique(np.asarray(layer.codebook)[:5], axis=0), np.unique(z, axis=0))
    assert np.mean((np.asarray(layer(z).quantized) - z) ** 2) == 0


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.full((4, 6), np.nan, "float32"), r"got no vectors, or some with NaN or infinity"),
        (np.zeros((0, 6), "float32"), r"got no vectors, or some with NaN or infinity"),
        (
            features(4, 5),
            r"got vectors of shape \(4, 5\); expected \(batch, …, 6\): end the layers before it",
        ),
        (features(6), r"got vectors of shape \(6,\); expected \(batch, …, 6\)"),
    ],
)
def test_initialize_refuses_what_are_no_vectors(vectors: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VectorQuantizer(8, 6).initialize(vectors)


def test_initialize_refuses_tensors_of_a_graph() -> None:
    layer = VectorQuantizer(8, 6)
    with pytest.raises(ValueError, match=r"initialize got a tensor of a graph; expected numbers: call it"):
        tf.function(layer.initialize, autograph=False)(features(4, 6))


def test_without_a_codebook_nothing_is_looked_up() -> None:
    layer = VectorQuantizer(8, 6)
    for use in (
        lambda: layer.codebook,
        lambda: layer.encode(features(4, 6)),
        lambda: layer.decode(np.zeros((4, 1), "int32")),
        lambda: layer.update({}),
    ):
        with pytest.raises(
            ValueError, match=r"no codebook before it is built; call it on vectors \(batch, …"
        ):
            use()
