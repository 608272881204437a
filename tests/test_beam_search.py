"""Beam search beside enumeration and greedy search."""

import functools
from typing import Any

import numpy as np
import pytest
from catalogue import GREY, condition_of, prior_like
from enumeration import every_grid

from tfprior.distributions import Categorical
from tfprior.priors import CausalTransformer, EncoderDecoderTransformer, GatedPixelCNN
from tfprior.sampling import beam_search, sample

END, GRID = 2, (1, 4, 1)
made = functools.partial(
    prior_like, EncoderDecoderTransformer, GRID, distribution=Categorical(3), end_value=END, num_layers=1
)


def sequences() -> np.ndarray:
    every = every_grid(GRID, 3)
    ended = np.cumsum(every == END, axis=2) > 0
    return every[((every == END) | ~ended).all((1, 2, 3))]


def lengths(values: np.ndarray) -> np.ndarray:
    """With their end, where they have one: (…, 1, N, 1) → (…)."""
    return np.minimum((values[..., 0] != END).sum((-1, -2)) + 1, GRID[1])


@pytest.mark.xla
@pytest.mark.parametrize("length_penalty", [0.0, 1.5])
def test_wide_beams_find_what_enumeration_finds(length_penalty: float) -> None:
    prior, every = made(), sequences()
    source = condition_of(prior, 4)
    found = beam_search(prior, source, num_beams=len(every) + 2, length_penalty=length_penalty)
    for index in range(4):
        nats = prior.log_prob(every, source[[index]].repeat(len(every), 0))
        order = np.argsort(-nats / ((5 + lengths(every)) / 6) ** length_penalty)
        np.testing.assert_array_equal(found.values[index, : len(every)], every[order])
        np.testing.assert_allclose(found.log_prob[index, : len(every)], nats[order], rtol=1e-4, atol=1e-5)
        assert (found.log_prob[index, len(every) :] == -np.inf).all()


def test_likelihoods_are_those_of_the_prior_and_one_beam_is_greedy() -> None:
    prior = prior_like(EncoderDecoderTransformer, (1, 7, 1), end_value=3, num_layers=1)
    source = condition_of(prior, 4)
    found = beam_search(prior, source, num_beams=3)
    assert found.values.shape == (4, 3, 1, 7, 1)
    nats = prior.log_prob(found.values.reshape(-1, 1, 7, 1), source.repeat(3, 0)).reshape(4, 3)
    np.testing.assert_allclose(found.log_prob, nats, rtol=1e-5)
    one = beam_search(prior, source, num_beams=1)
    np.testing.assert_array_equal(one.values[:, 0], sample(prior, 4, source, top_k=1, seed=0))


def test_a_prior_without_a_source_has_one_search() -> None:
    prior = prior_like(CausalTransformer, GRID, distribution=Categorical(3), end_value=END)
    every = sequences()
    found = beam_search(prior, num_beams=len(every), length_penalty=0)
    assert found.values.shape == (1, len(every), *GRID)
    np.testing.assert_array_equal(found.values[0, 0], every[prior.log_prob(every).argmax()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_beams": 0}, "beam_search got num_beams=0; expected a positive integer"),
        ({"length_penalty": -1}, "length_penalty=-1; expected a number from 0"),
        ({"length_penalty": np.nan}, "length_penalty=nan; expected a number from 0"),
        ({"condition": None}, r"got condition=None; expected integer tokens"),
        (
            {"prior": prior_like(GatedPixelCNN, GREY)},
            "got a GatedPixelCNN without an end value; expected a prior",
        ),
        ({"prior": prior_like(CausalTransformer)}, "got a CausalTransformer without an end value"),
    ],
)
def test_bad_arguments_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        beam_search(**{"prior": made(), "condition": condition_of(made(), 2), **changes})
