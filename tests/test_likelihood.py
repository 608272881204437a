"""Likelihoods of raster priors are exact.

Shapes: B batch · H W C grid, H ≠ W · K levels.
"""

from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import (
    CONDITIONS,
    GREY,
    condition_of,
    each_grid,
    each_kind,
    each_masked_kind,
    prior_like,
    values_of,
)
from enumeration import every_grid
from rollouts import whole
from small_pixelcnn_pp import MIXTURE, small

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import PixelCNN


@pytest.mark.each_once
@each_masked_kind
@pytest.mark.parametrize(
    ("grid", "levels", "condition"),
    [((2, 2, 1), 4, "none"), ((1, 2, 3), 3, "labels"), ((2, 1, 3), 2, "maps"), ((3, 2, 1), 3, "vectors")],
)
@pytest.mark.parametrize("value_embedding_dim", [None, 3])
def test_probabilities_of_all_grids_sum_to_one(
    kind: Any, grid: Any, levels: int, condition: str, value_embedding_dim: int | None
) -> None:
    prior = catalogue.prior(
        kind, grid, condition, distribution=Categorical(levels), value_embedding_dim=value_embedding_dim
    )
    grids, given = every_grid(grid, levels), condition_of(prior, 1)
    nats = prior.log_prob(grids, None if given is None else given.repeat(len(grids), 0))
    assert np.exp(np.asarray(nats, "float64")).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("grid", "condition", "distribution", "num_stages"),
    [
        ((2, 2, 1), "none", Categorical(4), 2),
        ((2, 2, 1), "maps", MIXTURE, 2),
        ((2, 2, 3), "labels", Categorical(2), 2),
        ((2, 2, 3), "vectors", DiscretizedLogisticMixture(2, 2), 2),
        ((3, 2, 1), "none", Categorical(3), 1),
    ],
    ids=str,
)
def test_probabilities_of_pixelcnn_pp_sum_to_one(
    grid: Any, condition: str, distribution: Any, num_stages: int
) -> None:
    prior = small(grid, condition, distribution=distribution, num_stages=num_stages)
    grids, given = every_grid(grid, distribution.num_levels), condition_of(prior, 1)
    nats = prior.log_prob(grids, None if given is None else given.repeat(len(grids), 0))
    assert np.exp(np.asarray(nats, "float64")).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.each_once
@each_kind
@each_grid
def test_log_prob_is_the_sum_over_pixels_and_channels(kind: Any, grid: Any) -> None:
    prior = prior_like(kind, grid, "labels")
    values, labels = values_of(prior), condition_of(prior)
    logits = whole(prior, values, labels).astype("float64").reshape(*values.shape, 4)
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, values[..., None], -1)[..., 0]
    np.testing.assert_allclose(prior.pixel_log_prob(values, labels), -nats.sum(3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prior.log_prob(values, labels), -nats.sum((1, 2, 3)), rtol=1e-5)
    bits = nats.mean((1, 2, 3)) / np.log(2)
    np.testing.assert_allclose(prior.bits_per_dim(values, labels), bits, rtol=1e-5)


@pytest.mark.each_once
@each_kind
@each_grid
def test_a_uniform_model_takes_eight_bits(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid, distribution=Categorical(256))
    prior.head.set_weights([0 * weight for weight in prior.head.get_weights()])
    np.testing.assert_allclose(prior.bits_per_dim(values_of(prior)), 8, rtol=1e-6)


@pytest.mark.each_once
@each_kind
@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16"])
def test_any_integers_have_the_same_likelihood(kind: Any, dtype: str) -> None:
    prior = prior_like(kind)
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values.astype(dtype)), prior.log_prob(values))


def test_booleans_are_two_levels() -> None:
    prior = catalogue.prior(PixelCNN, GREY, distribution=Categorical(2))
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values.astype(bool)), prior.log_prob(values))


@pytest.mark.each_once
@each_kind
@pytest.mark.parametrize("condition", CONDITIONS[1:])
def test_the_condition_matters(kind: Any, condition: str) -> None:
    prior = prior_like(kind, GREY, condition)
    values, given = values_of(prior), condition_of(prior)
    nats = np.asarray(prior.log_prob(values, given))
    assert (np.abs(nats - prior.log_prob(values, np.roll(given, 1, 0))) > 1e-3).all()
