"""The Gaussian output: a density times the width of a bin, and draws around the means."""

import math
from typing import Any

import numpy as np
import pytest

from tfprior.distributions import Gaussian, SamplingOptions

MEANS = np.array([[-0.3, 0.0, 0.4]], "float32")


def test_levels_have_their_density_times_the_width_of_a_bin() -> None:
    values = np.array([[10, 128, 255]], "int32")
    x = values / 127.5 - 1
    density = np.exp(-(((x - MEANS) / 0.1) ** 2) / 2) / 0.1 / math.sqrt(2 * math.pi)
    expected = np.log(density * 2 / 255).sum()
    np.testing.assert_allclose(Gaussian(256, 0.1).log_prob(MEANS, values), [expected], rtol=1e-5)


@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.123])
def test_probabilities_sum_to_one_where_the_tails_stay_inside(mean: float) -> None:
    nats = Gaussian(256, 0.1).log_prob(np.full((256, 1), mean, "float32"), np.arange(256)[:, None])
    assert np.exp(np.asarray(nats, "float64")).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_draws_have_the_mean_and_the_width(temperature: float) -> None:
    uniforms = np.random.default_rng(0).random((20_000, 3), "float32")
    values, _ = Gaussian(256, 0.1).sample(
        np.repeat(MEANS, 20_000, 0), uniforms, SamplingOptions(np.float32(temperature))
    )
    x = np.asarray(values) / 127.5 - 1
    np.testing.assert_allclose(x.mean(0), MEANS[0], atol=0.003)
    np.testing.assert_allclose(x.std(0), 0.1 * temperature, rtol=0.03)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gaussian(1), r"num_levels=1; expected an integer, 2 or more"),
        (lambda: Gaussian(256, 0.001), r"scale=0.001; expected a bin's width, 0.007843, or more"),
        (lambda: Gaussian(5, 0.5).sample(MEANS, MEANS * 0, SamplingOptions(top_k=2)), r"it is not truncated"),
    ],
)
def test_bad_options_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()
