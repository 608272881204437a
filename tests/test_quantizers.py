"""What every quantizer does: codes and vectors, losses, gradients, precision, files, errors.

Shapes: N vectors · D their size · K codes · G codes of a vector.
"""

import re
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features
from small_quantizers import SMALL, WITH_CODEBOOK, counts_of, gradient, initialized

from tfprior.quantizers import (
    FiniteScalarQuantizer,
    LookupFreeQuantizer,
    ProductQuantizer,
    ResidualVectorQuantizer,
    VectorQuantizer,
)

each_quantizer = pytest.mark.parametrize("name", SMALL)
each_codebook = pytest.mark.parametrize("name", WITH_CODEBOOK)
BETA = 0.25


@each_quantizer
def test_codes_stand_for_the_quantized_vectors(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = initialized(name, x)
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
    layer = initialized(name, x)
    alone = np.concatenate([layer.encode(row[None]) for row in x])
    np.testing.assert_array_equal(layer.encode(x), alone)


@each_quantizer
def test_the_loss_is_the_same_in_training_and_evaluation(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = initialized(name, x)
    assert float(layer(x, training=True).loss) == float(layer(x, training=False).loss)
    assert (float(layer(x).loss) != 0) == (name != "finite")


@each_quantizer
def test_an_owned_quantizer_is_moved_by_update_alone(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = initialized(name, x)
    layer.learns_by_itself = False
    before = layer.get_weights()
    statistics = layer(x + 0.3, training=True).statistics
    for kept, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)
    assert layer.losses == []
    layer.update(statistics)
    moved = [not np.array_equal(a, b) for a, b in zip(before, layer.get_weights(), strict=True)]
    assert any(moved) == (name in WITH_CODEBOOK)


@each_quantizer
def test_statistics_have_the_same_keys_and_shapes_in_training_and_evaluation(name: str) -> None:
    # Functional models match the outputs of one with those of the other by their order.
    layer = initialized(name, features(2, 4, 5, 6))
    layer.learns_by_itself = False
    training, evaluation = (layer(features(3, 4, 5, 6), training=flag) for flag in (True, False))
    keras.tree.assert_same_structure(training, evaluation)
    keras.tree.map_structure(np.testing.assert_array_equal, training[:3], evaluation[:3])
    np.testing.assert_array_equal(training.statistics["counts"], evaluation.statistics["counts"])


@pytest.mark.each_once
@each_codebook
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("share", ["one", "all"])
def test_a_batch_that_diverged_moves_nothing(name: str, value: float, share: str) -> None:
    x = features(50, 6)
    layer = initialized(name, x)
    layer(x, training=True)
    before = layer.get_weights()
    bad = x.copy()
    bad[7 if share == "one" else slice(None)] = value
    layer(bad, training=True)
    for kept, now in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


@each_quantizer
def test_gradients_are_finite_and_reach_every_input(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = initialized(name, x)
    weights = features(2, 4, 5, 6, seed=1)
    slopes = gradient(lambda z: tf.reduce_sum(weights * layer(z).quantized) + layer(z).loss, x)
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes).max(-1) > 0).all()


@each_quantizer
def test_mixed_bfloat16_looks_up_in_float32(name: str) -> None:
    x = features(2, 4, 5, 6)
    layer = initialized(name, x)
    half = type(layer).from_config({**layer.get_config(), "dtype": "mixed_bfloat16"})
    half(x)
    half.set_weights(layer.get_weights())
    rounded = np.asarray(tf.cast(tf.cast(x, "bfloat16"), "float32"))
    result = half(rounded)
    assert result.quantized.dtype == "bfloat16"
    assert result.loss.dtype == "float32"
    np.testing.assert_array_equal(result.codes, half.encode(rounded))
    decoded = half.decode(result.codes)
    assert decoded.dtype == "float32"
    np.testing.assert_array_equal(decoded, layer.decode(result.codes))
    np.testing.assert_array_equal(result.quantized, tf.cast(decoded, "bfloat16"))
    if name != "residual":  # whose remainders are of rounded vectors
        np.testing.assert_array_equal(result.codes, layer.encode(rounded))


@each_quantizer
@pytest.mark.parametrize("shape", [(2, 3, 7), (6,)], ids=str)
def test_another_size_of_vectors_is_refused_on_every_way_in(name: str, shape: tuple[int, ...]) -> None:
    layer = initialized(name, features(40, 6))
    wrong = features(*shape)
    message = (
        rf"got vectors of shape {re.escape(str(shape))}; expected \(batch, …, 6\): end the layers before "
    )
    for take in (layer, SMALL[name](), layer.encode, layer.initialize):
        with pytest.raises(ValueError, match=message):
            take(wrong)
    with pytest.raises(ValueError, match=message):
        layer(keras.KerasTensor(shape))


@each_quantizer
def test_codes_that_are_none_are_refused(name: str) -> None:
    layer = initialized(name, features(40, 6))
    size, count = layer.codebook_size, layer.num_codes
    for codes, message in (
        (
            np.full((2, count), size),
            rf"got codes in \[{size}, {size}\]; expected integers in \[0, {size - 1}\]",
        ),
        (np.full((2, count), -1), rf"got codes in \[-1, -1\]; expected integers in \[0, {size - 1}\]"),
        (np.zeros((2, count)), r"got codes of dtype float64; expected integers"),
        (
            np.zeros((2, count + 1), "int32"),
            rf"expected \(batch, …, {count}\): the last axis holds the codes",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            layer.decode(codes)


def test_a_quantizer_refuses_what_has_no_shape() -> None:
    layer = initialized("vector", features(40, 6))
    with pytest.raises(
        ValueError, match=r"VectorQuantizer got a Quantized; expected a tensor \(batch, …, 6\)"
    ):
        layer(layer(features(2, 6)))


# Several quantizers --------------------------------------------------------------------------------------


def test_every_stage_of_a_residual_quantizer_feels_its_remainder() -> None:
    x = features(60, 6)
    layer = initialized("residual", x)
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
    layer = initialized("residual", x)
    codes = np.asarray(layer.encode(x))
    partial = np.cumsum([each.decode(codes[:, i : i + 1]) for i, each in enumerate(layer.quantizers)], axis=0)
    errors = ((partial - x) ** 2).mean((1, 2))
    assert errors[0] > errors[1] > errors[2]


def test_the_heads_of_a_product_see_their_part_only() -> None:
    x = features(10, 6)
    layer = initialized("product", x)
    other = np.concatenate([x[:, :2], features(10, 4, seed=5)], axis=1)
    np.testing.assert_array_equal(layer.encode(other)[:, 0], layer.encode(x)[:, 0])
    np.testing.assert_array_equal(
        layer.quantizers[1].encode(x[:, 2:])[:, 0], np.asarray(layer.encode(x))[:, 1]
    )


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VectorQuantizer(True, 4), r"codebook_size=True; expected a positive integer"),
        (lambda: VectorQuantizer(0, 4), r"codebook_size=0; expected a positive integer"),
        (lambda: VectorQuantizer(4, 2.5), r"code_dim=2.5; expected a positive integer"),
        (lambda: VectorQuantizer(4, 2, metric="dot"), r"metric='dot'; expected one of euclidean, cosine"),
        (
            lambda: VectorQuantizer(4, 2, gradient="none"),
            r"gradient='none'; expected one of straight_through, rota",
        ),
        (
            lambda: VectorQuantizer(4, 2, initialization="ones"),
            r"initialization='ones'; expected one of kmeans, data",
        ),
        (lambda: VectorQuantizer(4, 2, decay=1.0), r"decay=1.0; expected a number between 0 and 1"),
        (lambda: VectorQuantizer(4, 2, restart_below=2), r"restart_below=2; expected a number between"),
        (lambda: VectorQuantizer(4, 2, decay="a"), r"decay='a'; expected a number between 0 and 1, or None"),
        (lambda: VectorQuantizer(4, 2, decay=float("nan")), r"decay=nan; expected a number between 0 and 1"),
        (
            lambda: VectorQuantizer(4, 2, commitment_weight=-1),
            r"commitment_weight=-1; expected a finite number of 0 or more",
        ),
        (
            lambda: VectorQuantizer(4, 2, commitment_weight=float("inf")),
            r"commitment_weight=inf; expected a finite number of 0 or more",
        ),
        (
            lambda: VectorQuantizer(4, 2, entropy_weight="a"),
            r"entropy_weight='a'; expected a finite number of 0 or more",
        ),
        (
            lambda: VectorQuantizer(4, 2, entropy_temperature=0),
            r"entropy_temperature=0; expected a finite number above 0",
        ),
        (lambda: FiniteScalarQuantizer(8), r"levels=8; expected whole numbers of 2 or more"),
        (
            lambda: FiniteScalarQuantizer((True, 4)),
            r"levels=\(True, 4\); expected whole numbers of 2 or more",
        ),
        (lambda: FiniteScalarQuantizer(()), r"levels=\(\); expected whole numbers of 2 or more"),
        (lambda: FiniteScalarQuantizer((8, 1)), r"levels=\(8, 1\); expected whole numbers of 2 or more"),
        (lambda: FiniteScalarQuantizer((8,) * 9), r"134,217,728 codes; expected at most 2\^24"),
        (lambda: ResidualVectorQuantizer([VectorQuantizer(4, 2)] * 2), r"got a quantizer twice"),
        (lambda: LookupFreeQuantizer(30), r"num_bits=30; expected a number in \[1, 24\]"),
        (lambda: LookupFreeQuantizer(True), r"num_bits=True; expected a number in \[1, 24\]"),
        (
            lambda: LookupFreeQuantizer(3, entropy_weight=-1),
            r"entropy_weight=-1; expected a finite number of 0 or more",
        ),
        (lambda: ProductQuantizer([]), r"quantizers=\[\]; expected a list of one or more"),
        (lambda: ProductQuantizer(VectorQuantizer(4, 2)), r"expected a list of one or more of tfprior.quant"),
        (lambda: ProductQuantizer([3]), r"quantizers=\[3\]; expected a list of one or more"),
        (
            lambda: ProductQuantizer([VectorQuantizer(4, 2), VectorQuantizer(8, 2)]),
            r"of \[4, 8\] codes; expected as",
        ),
        (
            lambda: ResidualVectorQuantizer([VectorQuantizer(4, 2), VectorQuantizer(4, 3)]),
            r"of vectors of sizes \[2, 3\]; expected one size",
        ),
    ],
)
def test_bad_options_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
