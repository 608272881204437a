"""Quantizers without a codebook: finite scalars and signs.

Shapes: N vectors · D their size · K codes.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from catalogue import features
from small_quantizers import gradient

from tfprior.quantizers import FiniteScalarQuantizer, LookupFreeQuantizer


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
