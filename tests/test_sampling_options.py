"""What is asked of a sampler: noise, options and conditions, and the bad ones, refused in one sentence."""

import math
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, each_masked_kind, prior_like, values_of
from drawing import SIZE, assert_same_integers, noise

from tfprior.priors import GatedPixelCNN, PixelCNN
from tfprior.sampling import sample, sample_rows


def test_a_seed_repeats_a_sample() -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    first = sample(prior, SIZE, seed=1)
    assert (first.shape, first.dtype) == ((SIZE, *GREY), "int32")
    np.testing.assert_array_equal(first, sample(prior, SIZE, seed=1))
    assert (first != sample(prior, SIZE, seed=2)).any()
    assert (first != sample(prior, SIZE)).any()


def test_uniforms_in_float64_are_welcome() -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    uniforms = noise(prior).astype("float64")
    expected = sample(prior, SIZE, uniforms=uniforms)
    uniforms[expected == 3] = np.nextafter(1.0, 0.0)  # rounds to 1 in float32
    drawn = sample(prior, SIZE, uniforms=uniforms)
    assert 0 <= drawn.min() <= drawn.max() < 4


@pytest.mark.xla
def test_a_sample_does_not_depend_on_how_many_are_drawn() -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    uniforms = noise(prior)
    drawn = sample(prior, SIZE, uniforms=uniforms)
    for count in (SIZE - 1, 1):
        assert_same_integers(sample(prior, count, uniforms=uniforms[:count]), drawn[:count])


def test_condition_may_be_a_list() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    uniforms = noise(prior)
    labels = condition_of(prior, SIZE)
    expected = sample(prior, SIZE, labels, uniforms)
    np.testing.assert_array_equal(sample(prior, SIZE, labels.tolist(), uniforms), expected)


OBSERVED = np.zeros((2, *GREY), "int32")
MASK = np.ones(GREY[:2], bool)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, r"num_samples=0; expected a positive integer"),
        ({"num_samples": 2.0}, r"num_samples=2.0; expected a positive integer"),
        ({"num_samples": "two"}, r"num_samples='two'; expected a positive integer"),
        (
            {"method": "fast"},
            r"Unknown sampling method 'fast' of GatedPixelCNN; expected 'cached', 'parallel_rows', 'full'",
        ),
        ({"temperature": 0}, r"temperature=0; expected a positive number \(top_k=1 draws"),
        ({"temperature": -1.0}, r"temperature=-1.0; expected a positive number"),
        ({"temperature": math.nan}, r"temperature=nan; expected a positive number"),
        ({"temperature": math.inf}, r"temperature=inf; expected a positive number"),
        ({"temperature": "hot"}, r"temperature=.*hot.*; expected a positive number"),
        ({"top_k": 0}, r"top_k=0; expected an integer in \[1, 4\]"),
        ({"top_k": 5}, r"top_k=5; expected an integer in \[1, 4\]"),
        ({"top_k": 2.5}, r"top_k=2.5; expected"),
        ({"top_p": 0.0}, r"top_p=0.0; expected a probability in \(0, 1\]"),
        ({"top_p": 1.01}, r"top_p=1.01; expected a probability in \(0, 1\]"),
        ({"top_p": math.nan}, r"top_p=nan; expected a probability"),
        (
            {"uniforms": np.zeros((2, 6, 4, 1))},
            r"uniforms have shape \(2, 6, 4, 1\); expected \(2, 4, 6, 1\)",
        ),
        (
            {"uniforms": np.zeros((3, 4, 6, 1))},
            r"uniforms have shape \(3, 4, 6, 1\); expected \(2, 4, 6, 1\)",
        ),
        ({"uniforms": np.ones((2, 4, 6, 1))}, r"uniforms leave \[0, 1\) or hold NaN"),
        ({"uniforms": np.full((2, 4, 6, 1), -0.1)}, r"uniforms leave \[0, 1\) or hold NaN"),
        ({"uniforms": np.full((2, 4, 6, 1), np.nan)}, r"uniforms leave \[0, 1\) or hold NaN"),
        ({"uniforms": np.zeros((2, 4, 6, 1)), "seed": 1}, r"both uniforms and a seed"),
        ({"observed": OBSERVED}, r"both `observed` values and a `mask`"),
        ({"mask": MASK}, r"both `observed` values and a `mask`"),
        ({"observed": OBSERVED[:1], "mask": MASK}, r"Got 1 observed grids for 2 samples"),
        ({"observed": OBSERVED + 4, "mask": MASK}, r"observed values lie in \[4, 4\]; expected .*\[0, 3\]"),
        ({"observed": OBSERVED / 2, "mask": MASK}, r"observed values have dtype float64"),
        ({"observed": OBSERVED[..., 0], "mask": MASK}, r"observed values have shape \(2, 4, 6\)"),
        ({"observed": OBSERVED, "mask": MASK.T}, r"mask is bool of shape \(6, 4\); expected bool of shape"),
        ({"observed": OBSERVED, "mask": MASK.astype("int32")}, r"mask is int32 of shape \(4, 6\)"),
        ({"observed": OBSERVED, "mask": MASK[None]}, r"mask is bool of shape \(1, 4, 6\)"),
        ({"condition": np.array([0, 1])}, r"The prior is unconditional and got a condition"),
    ],
)
def test_bad_options_are_refused_in_one_sentence(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(prior_like(GatedPixelCNN, GREY), **{"num_samples": 2, **options})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            None,
            r"The prior is conditional and got condition=None; expected integer labels \(batch,\) in",
        ),
        (np.array([0, 3]), r"Labels lie in \[0, 3\]; expected \[0, 2\]"),
        (np.array([0]), r"condition has 1 rows for 2 examples"),
        (np.array([0.0, 1.0]), r"condition has dtype float64; expected integer labels"),
        (np.zeros((2, 3), int), r"condition has shape \(2, 3\); expected integer labels"),
        (1, r"condition has shape \(\); expected integer labels"),
    ],
)
def test_bad_conditions_are_refused_in_one_sentence(condition: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sample(prior_like(PixelCNN, COLOUR, "labels"), 2, condition)


@pytest.mark.slow("[PixelCNN]")
@each_masked_kind
def test_a_diverged_prior_draws_nothing(kind: Any) -> None:
    prior = catalogue.prior(kind, (2, 3, 1))
    prior.head.bias.assign(np.full(prior.head.bias.shape, np.nan))
    diverged = "The prior gives NaN, so its training diverged"
    for method in ("cached", "parallel", "parallel_rows", "full"):
        with pytest.raises(ValueError, match=diverged):
            sample(prior, 2, seed=0, method=method)
    with pytest.raises(ValueError, match=diverged):
        list(sample_rows(prior, 2, seed=0))
    with pytest.raises(ValueError, match=diverged):
        prior.complete(values_of(prior, 2), np.eye(2, 3, dtype=bool), seed=0)


@pytest.mark.parametrize(("images", "mask"), [(None, True), (3, True), (np.zeros((1, *GREY), int), None)])
def test_completion_needs_images_and_a_mask(images: Any, mask: Any) -> None:
    with pytest.raises(ValueError, match=r"complete takes images \(N, H, W, C\) and a mask \(H, W\)"):
        prior_like(GatedPixelCNN, GREY).complete(images, mask)


def test_a_likelihood_needs_images() -> None:
    with pytest.raises(ValueError, match=r"Got None as images; expected integers \(N, H, W, C\)"):
        prior_like(GatedPixelCNN, GREY).log_prob(None)
