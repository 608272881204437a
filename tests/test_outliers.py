"""Outlier scores: the mixture over classes, complexity taken off, and telling digits from noise.

Shapes: N images · H W C.
"""

import functools
import io
import math
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, prior_like, values_of
from PIL import Image

from tfprior.data import load
from tfprior.distributions import Categorical
from tfprior.generator import Generator
from tfprior.measuring.outliers import OutlierScores, auroc, log_likelihood, outlier_scores
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP


@functools.cache
def prior_of_digits() -> PixelCNN:
    keras.utils.set_random_seed(0)
    digits = load("digits")
    prior = PixelCNN(
        digits.grid_shape, Categorical(digits.num_levels), filters=16, num_layers=1, num_classes=10
    )
    prior.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    prior.fit({"values": digits.x_train, "condition": digits.y_train}, epochs=3, verbose=0)
    return prior


@pytest.mark.parametrize("kind", [PixelCNN, GatedPixelCNN, PixelCNNPP])
def test_a_model_of_classes_is_their_mixture(kind: Any) -> None:
    prior = prior_like(kind, GREY, "labels")
    values = values_of(prior, 5)
    of_classes = [np.asarray(prior.log_prob(values, np.full(5, label)), "float64") for label in range(3)]
    expected = np.log(np.mean(np.exp(of_classes), axis=0))
    nats = log_likelihood(prior, values, batch_size=2)
    assert (nats.shape, nats.dtype) == ((5,), "float64")
    np.testing.assert_allclose(nats, expected, rtol=1e-5)
    given = condition_of(prior, 5)
    np.testing.assert_allclose(log_likelihood(prior, values, given), prior.log_prob(values, given), rtol=1e-5)


def test_a_generator_is_scored_by_its_bound() -> None:
    tokenizer = catalogue.TOKENIZERS[0].build()
    prior = catalogue.prior(PixelCNN, tokenizer.code_shape, "labels", distribution=Categorical(8))
    model = Generator(catalogue.randomise(tokenizer), prior)
    x, labels = catalogue.integers(5, 4, 8, 1, top=16), np.arange(5) % 3
    of_classes = [model.log_prob(x, np.full(5, label)).astype("float64") for label in range(3)]
    np.testing.assert_allclose(log_likelihood(model, x), np.log(np.mean(np.exp(of_classes), 0)), rtol=1e-5)
    scores = outlier_scores(model, x, labels)
    np.testing.assert_allclose(scores.bits, -model.log_prob(x, labels) / math.log(2), rtol=1e-5)


def smallest_file(image: np.ndarray) -> int:
    """Bytes of an image of four levels as WebP or PNG, if grey with a palette of two bits a pixel too."""
    picture = Image.fromarray(image.squeeze().astype("uint8"))
    options: list[dict[str, Any]] = [
        {"format": "WEBP", "lossless": True, "exact": True, "method": 4, "quality": 75},
        {"format": "PNG", "optimize": True},
    ]
    sizes = []
    for each in options:
        picture.save(file := io.BytesIO(), **each)
        sizes.append(file.tell())
    if picture.mode == "L":
        picture.putpalette([level for level in range(4) for _ in range(3)])
        picture.save(file := io.BytesIO(), "PNG", optimize=True, bits=2)
        sizes.append(file.tell())
    return min(sizes)


@pytest.mark.parametrize(("grid", "condition"), [(GREY, "none"), (COLOUR, "maps")])
def test_the_score_is_bits_less_those_of_the_smallest_file(grid: Any, condition: str) -> None:
    prior = prior_like(GatedPixelCNN, grid, condition)
    values, given = values_of(prior, 5), condition_of(prior, 5)
    scores = outlier_scores(prior, values, given, batch_size=3)
    np.testing.assert_allclose(
        scores.bits, -np.asarray(prior.log_prob(values, given)) / math.log(2), rtol=1e-5
    )
    np.testing.assert_array_equal(scores.complexity, [8 * smallest_file(image) for image in values])
    np.testing.assert_array_equal(scores.score, scores.bits - scores.complexity)
    dims = math.prod(grid)
    np.testing.assert_allclose(scores.per_dim(dims).bits, prior.bits_per_dim(values, given), rtol=1e-5)
    np.testing.assert_array_equal(scores.per_dim(dims).score, scores.score / dims)


def test_noise_is_no_digit() -> None:
    digits, prior = load("digits"), prior_of_digits()
    own = outlier_scores(prior, digits.x_test[:100])
    noise = np.random.default_rng(0).integers(17, size=(100, *digits.grid_shape))
    assert auroc(own.bits, outlier_scores(prior, noise).bits) > 0.999
    blank = outlier_scores(prior, np.zeros((20, *digits.grid_shape), "int32"))
    assert auroc(own.bits, blank.bits) < 0.1  # so simple that it seems likelier than any digit …
    assert auroc(own.score, blank.score) > auroc(own.bits, blank.bits)  # … until that is taken off


def test_the_area_under_the_curve_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    own, others = rng.integers(9, size=30) / 2, rng.integers(5, 14, size=20) / 2
    pairs = others[:, None] - own
    assert auroc(own, others) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-12)
    assert auroc(own, own) == 0.5


def test_what_cannot_be_scored_is_refused() -> None:
    many = catalogue.prior(PixelCNN, GREY, distribution=Categorical(300))
    with pytest.raises(ValueError, match="300 levels and 1 channels; PNG and WebP hold at most 256 levels"):
        outlier_scores(many, values_of(many))
    prior = prior_like(PixelCNN, GREY, "labels")
    with pytest.raises(ValueError, match="add a channel axis"):
        outlier_scores(prior, values_of(prior)[..., 0])
    with pytest.raises(ValueError, match="Labels lie in"):
        outlier_scores(prior, values_of(prior), np.full(3, 3))
    maps = prior_like(GatedPixelCNN, COLOUR, "maps")
    with pytest.raises(ValueError, match="got condition=None"):
        outlier_scores(maps, values_of(maps))


def test_likelihoods_that_are_no_numbers_are_told() -> None:
    prior = catalogue.prior(PixelCNN, GREY)
    prior.trainable_weights[0].assign(np.full(prior.trainable_weights[0].shape, np.nan))
    with pytest.raises(ArithmeticError, match="NaN"):
        outlier_scores(prior, values_of(prior))


def test_scores_are_a_tuple_of_arrays() -> None:
    assert OutlierScores._fields == ("bits", "complexity", "score")
