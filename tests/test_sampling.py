"""Sampling: the same noise gives the same integers whatever the method.

Shapes: B batch · H W C grid, H ≠ W · K uniforms a pixel.
"""

import functools
import itertools
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import (
    COLOUR,
    GREY,
    condition_of,
    each_kind,
    each_masked_kind,
    each_raster_kind,
    prior_like,
    values_of,
)
from drawing import SIZE, assert_same_integers, by_definition, completion, drawn_by, network, noise
from small_pixelcnn_pp import model

from tfprior import compilation
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.sampling import cached, full, parallel_rows, sample, stepwise

MODELS = [(GREY, "none"), (COLOUR, "labels")]


@pytest.mark.each_once
@pytest.mark.xla
@each_masked_kind
@pytest.mark.parametrize(("grid", "condition"), MODELS)
def test_cached_sampling_draws_what_the_definition_draws(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior), condition_of(prior, SIZE)
    expected = by_definition(prior, uniforms, given)
    assert len(np.unique(expected)) > 2
    assert_same_integers(sample(prior, SIZE, given, uniforms), expected)


@pytest.mark.xla
@pytest.mark.parametrize(("kind", "grid", "condition"), [(PixelCNN, *MODELS[0]), (GatedPixelCNN, *MODELS[1])])
def test_full_sampling_draws_what_the_definition_draws(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior), condition_of(prior, SIZE)
    assert_same_integers(
        sample(prior, SIZE, given, uniforms, method="full"), by_definition(prior, uniforms, given)
    )


LOOPS = (cached, stepwise, full, parallel_rows)
DRAWN = {
    "PixelCNN, vectors": (functools.partial(prior_like, PixelCNN, GREY, "vectors"), LOOPS),
    "PixelCNN, colour, maps": (functools.partial(prior_like, PixelCNN, COLOUR, "maps"), LOOPS),
    "GatedPixelCNN, vectors": (functools.partial(prior_like, GatedPixelCNN, GREY, "vectors"), LOOPS),
    "GatedPixelCNN, colour, maps": (functools.partial(prior_like, GatedPixelCNN, COLOUR, "maps"), LOOPS),
    "PixelCNN++, colour, vectors": (functools.partial(model, "colour, categorical, vectors"), LOOPS),
    "PixelCNN++, one stage, maps": (functools.partial(prior_like, PixelCNNPP, (3, 4, 1), "maps"), LOOPS),
    # Its steps are checked in test_steps, and the whole network knows no stages.
    "PixelCNN++, three stages, labels": (
        functools.partial(model, "grey, three stages, labels"),
        (cached, parallel_rows),
    ),
}


@pytest.mark.slow("three stages", "PixelCNN, vectors", "one stage")
@pytest.mark.parametrize("name", DRAWN)
def test_every_loop_draws_the_same_integers(name: str) -> None:
    build, loops = DRAWN[name]
    prior = build()
    uniforms, given = noise(prior, 4), condition_of(prior, 4)
    expected = by_definition(prior, uniforms, given)
    assert len(np.unique(expected)) > 2
    for loop in loops:
        drawn = drawn_by(loop, prior, uniforms, given)
        assert_same_integers(drawn.values, expected)
        np.testing.assert_allclose(drawn.log_prob, prior.log_prob(expected, given), rtol=1e-5)


COMPLETED = {
    "PixelCNN": (functools.partial(prior_like, PixelCNN, COLOUR, "labels"), LOOPS[1:]),
    "GatedPixelCNN": (functools.partial(prior_like, GatedPixelCNN, COLOUR, "labels"), LOOPS[1:]),
    "PixelCNN++": (functools.partial(model, "colour, categorical, vectors"), (full,)),
}


@pytest.mark.slow("[PixelCNN]", "PixelCNN++")
@pytest.mark.parametrize("name", COMPLETED)
def test_every_loop_draws_the_same_integers_under_every_option(name: str) -> None:
    build, loops = COMPLETED[name]
    prior = build()
    uniforms, given, known = noise(prior), condition_of(prior, SIZE), completion(prior)
    options = {"temperature": 0.7, "top_k": 3, "top_p": 0.8, **known}
    drawn = drawn_by(cached, prior, uniforms, given, **options).values
    for loop in loops:
        assert_same_integers(drawn_by(loop, prior, uniforms, given, **options).values, drawn)
    np.testing.assert_array_equal(drawn[~known["mask"]], known["observed"][~known["mask"]])
    assert (drawn != known["observed"])[known["mask"]].any()


@pytest.mark.each_once
@each_masked_kind
@pytest.mark.parametrize(
    "method", [pytest.param("cached", marks=pytest.mark.xla), "parallel", "parallel_rows", "full"]
)
def test_every_example_may_have_options_of_its_own(kind: Any, method: Any) -> None:
    prior = prior_like(kind, GREY)
    uniforms = noise(prior, 3)
    options = {"temperature": [0.5, 1.0, 3.0], "top_k": [4, 1, 3], "top_p": [1.0, 0.5, 0.7]}
    together = sample(prior, 3, uniforms=uniforms, method=method, **options)
    for index in range(3):
        its_own = {name: values[index] for name, values in options.items()}
        alone = sample(prior, 1, uniforms=uniforms[index : index + 1], **its_own)
        assert_same_integers(together[index], alone[0])


@each_kind
def test_what_is_known_before_a_pixel_decides_it(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    uniforms, observed = noise(prior), values_of(prior, SIZE, seed=9)
    mask = np.zeros(GREY[:2], bool)
    mask[2:] = True  # the lower half
    drawn = drawn_by(cached, prior, uniforms, observed=observed, mask=mask).values
    params = compilation.compiled(network, prior)
    expected = observed.copy()
    for y, x in itertools.product(range(2, GREY[0]), range(GREY[1])):
        cdf = np.cumsum(np.exp(np.asarray(params(expected, None), "float64")[:, y, x]), -1)
        expected[:, y, x] = (cdf <= uniforms[:, y, x] * cdf[:, -1:]).sum(-1, keepdims=True)
    assert_same_integers(drawn, expected)


@pytest.mark.slow("[PixelCNN]", "PixelCNNPP")
@each_kind
def test_extreme_options_draw_the_mode(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    uniforms = noise(prior, 2)
    greedy = drawn_by(cached, prior, uniforms, top_k=1).values
    np.testing.assert_array_equal(greedy[0], greedy[1])
    np.testing.assert_array_equal(greedy, prior.distribution.mode(prior(greedy)))
    for options in ({"top_p": 1e-6}, {"temperature": 1e-6}):
        np.testing.assert_array_equal(drawn_by(cached, prior, uniforms, **options).values, greedy)


@pytest.mark.slow("[PixelCNN]", "PixelCNNPP", "CausalTransformer")
@each_kind
def test_priors_in_mixed_bfloat16_draw_in_range(kind: Any) -> None:
    prior = catalogue.prior(kind, COLOUR, dtype="mixed_bfloat16")
    for loop in (cached, stepwise):
        drawn, nats, _ = drawn_by(loop, prior, noise(prior, 4))
        assert nats.dtype == "float32"
        assert 0 <= np.min(drawn) < np.max(drawn) < 4


@pytest.mark.each_once
@each_raster_kind
@pytest.mark.parametrize("grid", [(1, 5, 1), (5, 1, 3)], ids=str)
def test_narrow_grids(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid)
    expected = by_definition(prior, noise(prior))
    for other in (cached, parallel_rows):
        assert_same_integers(drawn_by(other, prior, noise(prior)).values, expected)
