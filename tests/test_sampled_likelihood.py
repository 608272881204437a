"""Samples are the model's: their frequencies and the likelihoods reported are those of `log_prob`.

Shapes: B batch · H W C grid, H ≠ W.
"""

import math
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, each_kind, prior_like
from drawing import SIZE, completion, drawn_by, noise
from enumeration import chi_square, every_grid
from small_pixelcnn_pp import MIXTURE

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.sampling import cached


@pytest.mark.each_once
@each_kind
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "none"), (COLOUR, "labels")])
def test_reported_likelihood_is_log_prob(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    given = condition_of(prior, SIZE)
    values, nats, _ = drawn_by(cached, prior, noise(prior), given)
    np.testing.assert_allclose(nats, prior.log_prob(values, given), rtol=1e-5)


@each_kind
def test_reported_likelihood_ignores_options_and_what_was_observed(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    known = completion(prior)
    values, nats, _ = drawn_by(cached, prior, noise(prior), temperature=0.5, top_k=2, **known)
    logits = np.asarray(prior(values), "float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    each = np.take_along_axis(logits, values, -1)[..., 0]
    np.testing.assert_allclose(nats, (each * known["mask"]).sum((1, 2)), rtol=1e-5, atol=1e-5)


SMALLEST = {
    "PixelCNN": (PixelCNN, (2, 2, 1), "none", Categorical(4)),
    "PixelCNN, colour": (PixelCNN, (1, 2, 3), "labels", Categorical(3)),
    "GatedPixelCNN": (GatedPixelCNN, (2, 2, 1), "none", Categorical(4)),
    "GatedPixelCNN, colour": (GatedPixelCNN, (1, 2, 3), "labels", Categorical(3)),
    "PixelCNN++": (PixelCNNPP, (2, 2, 1), "none", Categorical(4)),
    "PixelCNN++, mixture": (PixelCNNPP, (2, 2, 1), "none", MIXTURE),
    "PixelCNN++, colour, mixture": (PixelCNNPP, (2, 2, 3), "none", DiscretizedLogisticMixture(2, 2)),
}


@pytest.mark.slow("[PixelCNN++]", "[PixelCNN++, colour", "[PixelCNN, colour]", "[GatedPixelCNN]")
@pytest.mark.parametrize("name", SMALLEST)
def test_fifty_thousand_samples_follow_the_enumerated_probabilities(name: str) -> None:
    kind, grid, condition, distribution = SMALLEST[name]
    count, size, levels = 50_000, math.prod(grid), distribution.num_levels
    prior = catalogue.prior(kind, grid, condition, distribution=distribution)
    grids = every_grid(grid, levels)
    label = None if condition == "none" else np.array([2])
    nats = prior.log_prob(grids, None if label is None else label.repeat(len(grids)))
    drawn = cached(prior, noise(prior, count), None if label is None else label.repeat(count)).values
    index = np.asarray(drawn).reshape(count, -1) @ levels ** np.arange(size)[::-1]
    counts = np.bincount(index, minlength=len(grids))
    assert -5 < chi_square(counts, count * np.exp(np.asarray(nats, "float64"))) < 5
