"""The probabilities of every level of a channel: they sum to 1, and chained they are `log_prob`."""

import itertools
from typing import Any

import numpy as np
import pytest
from catalogue import DISTRIBUTIONS, Entry, features, integers

from tfprior.distributions import Categorical, DiscretizedLogistic, DiscretizedLogisticMixture, Gaussian

JUST_OUTSIDE = [-50.0, -3.0, -1.0, -0.9, -0.3, 0.0, 0.5, 1.0, 1.7, 50.0]
"""Means inside [−1, 1], at its ends and far beyond."""


def chained(distribution: Any, params: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The nats of values (…, C) in float64, a channel at a time; what is not known yet is hidden."""
    nats = np.zeros(values.shape[:-1])
    for channel in range(values.shape[-1]):
        known = np.where(np.arange(values.shape[-1]) < channel, values, 0)
        pmf = np.asarray(distribution.probabilities(params, known, channel), "float64")
        assert pmf.shape == (*values.shape[:-1], distribution.num_levels)
        np.testing.assert_allclose(pmf.sum(-1), 1, atol=1e-5)
        with np.errstate(divide="ignore"):  # of what float32 has no number for
            nats += np.log(np.take_along_axis(pmf, values[..., channel, None], -1)[..., 0])
    return nats


@pytest.mark.each_once
@pytest.mark.parametrize("entry", DISTRIBUTIONS, ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_channels_chain_to_log_prob(entry: Entry, channels: int) -> None:
    distribution = entry.build()
    params = 2 * features(50, 4, distribution.num_params(channels))
    values = integers(50, 4, channels, top=distribution.num_levels)
    expected = np.asarray(distribution.log_prob(params, values))
    nats = chained(distribution, params, values)
    if isinstance(distribution, Gaussian):  # what lies beyond the ends is shared out among the levels
        assert (nats > expected - 1e-4).all()
        return
    known = expected > -80
    assert (nats[~known] < -79).all()
    np.testing.assert_allclose(nats[known], expected[known], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("num_levels", [2, 17, 256, 1024])
def test_many_levels_of_coupled_channels(num_levels: int) -> None:
    distribution = DiscretizedLogisticMixture(5, num_levels)
    params = features(40, distribution.num_params(3))
    values = integers(40, 3, top=num_levels)
    values[:5], values[5:10] = 0, num_levels - 1
    # Improbable levels of narrow components are as exact as their edges on [−1, 1] in float32.
    np.testing.assert_allclose(
        chained(distribution, params, values), distribution.log_prob(params, values), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("num_levels", [2, 256])
def test_every_level_as_log_prob_has_it(num_levels: int) -> None:
    distribution = DiscretizedLogistic(num_levels)
    pairs = itertools.product(JUST_OUTSIDE, [-9, -7, -4, -1, 0, 3, 10])
    params = np.array([(0, mean, log_scale) for mean, log_scale in pairs], "float32")
    every = np.arange(num_levels)[:, None]
    expected = np.exp(np.asarray(distribution.log_prob(params[:, None], every), "float64"))
    found = np.asarray(distribution.probabilities(params, np.zeros((len(params), 1), "int32"), 0))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-30)


@pytest.mark.parametrize("mean", JUST_OUTSIDE)
def test_gaussians_sum_to_one_wherever_their_mean_lies(mean: float) -> None:
    distribution = Gaussian(256, 0.1)
    params, values = np.full((1, 1), mean, "float32"), np.zeros((1, 1), "int32")
    pmf = np.asarray(distribution.probabilities(params, values, 0), "float64")[0]
    assert pmf.sum() == pytest.approx(1, abs=1e-5)
    assert pmf[int(np.asarray(distribution.mode(params))[0, 0])] == pytest.approx(pmf.max())
    if abs(mean) <= 0.5:
        every = np.asarray(distribution.log_prob(np.full((256, 1), mean, "float32"), np.arange(256)[:, None]))
        np.testing.assert_allclose(pmf, np.exp(every), rtol=1e-4, atol=1e-12)


def test_extreme_logits_have_finite_probabilities() -> None:
    logits = np.array([[1000.0, 0.0, -1000.0, 3e38, 3e38, -3e38]], "float32")
    found = [np.asarray(Categorical(3).probabilities(logits, np.zeros((1, 2)), c))[0] for c in (0, 1)]
    np.testing.assert_array_equal(found, [[1, 0, 0], [0.5, 0.5, 0]])
