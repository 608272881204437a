"""Sampling: the same noise gives the same integers whatever the method, and the samples are the model's.

Shapes: B batch · H W C grid, H ≠ W · K uniforms a pixel. XLA compiles every sampler: priors are shared.
"""

import functools
import gc
import itertools
import math
import threading
import weakref
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, randomise, values_of

from tfprior import compilation
from tfprior.distributions import Categorical, SamplingOptions
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP, Prior
from tfprior.sampling import cached, draw, full, parallel_rows, sample, sample_rows, stepwise
from tfprior.sampling.request import Request
from tfprior.sharding import few_sized_shards, run_in_shards, shards

KINDS = [PixelCNN, GatedPixelCNN, PixelCNNPP]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_masked_kind = pytest.mark.parametrize("kind", KINDS[:2])
SIZE = 16

prior_like = functools.cache(catalogue.prior)
"""Priors that no test changes: their samplers stay compiled."""


def noise(prior: Prior, count: int = SIZE, seed: int = 0) -> np.ndarray:
    height, width, channels = prior.grid_shape
    shape = (count, height, width, prior.distribution.num_uniforms(channels))
    return np.random.default_rng(seed).random(shape, "float32")


def assert_same_integers(actual: Any, expected: Any) -> None:
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    flipped = int((actual != expected).sum())
    assert flipped == 0, f"{flipped} of {actual.size} values differ"


def loop(prior: Prior, uniforms: np.ndarray, condition: Any = None) -> np.ndarray:
    """The definition once more, in NumPy: the network for every channel of every pixel, inverse CDF."""
    values = np.zeros((len(uniforms), *prior.grid_shape), "int32")
    levels = prior.distribution.num_levels
    for y, x, c in itertools.product(*map(range, prior.grid_shape)):
        inputs = values if condition is None else {"values": values, "condition": condition}
        logits = np.asarray(prior(inputs), "float64").reshape(*values.shape, levels)[:, y, x, c]
        cdf = np.cumsum(np.exp(logits), -1)
        values[:, y, x, c] = (cdf <= uniforms[:, y, x, c, None] * cdf[:, -1:]).sum(-1)
    return values


# Same noise, same sample ---------------------------------------------------------------------------------

MODELS = [(GREY, "none"), (COLOUR, "labels"), (GREY, "vectors"), (COLOUR, "maps")]


@pytest.mark.xla
@each_masked_kind
@pytest.mark.parametrize(("grid", "condition"), MODELS[:2])
def test_cached_sampling_draws_what_the_definition_draws(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior), condition_of(prior, SIZE)
    expected = loop(prior, uniforms, given)
    assert len(np.unique(expected)) > 2
    assert_same_integers(sample(prior, SIZE, given, uniforms), expected)


@pytest.mark.xla
@pytest.mark.parametrize(("kind", "grid", "condition"), [(PixelCNN, *MODELS[0]), (GatedPixelCNN, *MODELS[1])])
def test_full_sampling_draws_what_the_definition_draws(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior), condition_of(prior, SIZE)
    assert_same_integers(sample(prior, SIZE, given, uniforms, method="full"), loop(prior, uniforms, given))


@pytest.mark.xla
@each_kind
@pytest.mark.parametrize(("grid", "condition"), MODELS[2:])
def test_every_loop_draws_the_same_integers(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior, 4), condition_of(prior, 4)
    expected = loop(prior, uniforms, given)
    for other in (cached, stepwise, full, parallel_rows):
        drawn = other(prior, uniforms, given)
        assert_same_integers(drawn.values, expected)
        np.testing.assert_allclose(drawn.log_prob, prior.log_prob(expected, given), rtol=1e-5)


def completion(prior: Prior) -> dict[str, np.ndarray]:
    """Every example with its own hidden pixels."""
    mask = np.random.default_rng(3).random((SIZE, *prior.grid_shape[:2])) < 0.5
    mask[0], mask[1] = True, False
    return {"observed": values_of(prior, SIZE, seed=4), "mask": mask}


@pytest.mark.xla
@each_masked_kind
def test_every_loop_draws_the_same_integers_under_every_option(kind: Any) -> None:
    prior = prior_like(kind, COLOUR, "labels")
    uniforms, given, known = noise(prior), condition_of(prior, SIZE), completion(prior)
    options = {"temperature": 0.7, "top_k": 3, "top_p": 0.8}
    drawn = sample(prior, SIZE, given, uniforms, **options, **known)
    request = Request(uniforms, given, SamplingOptions(**options), known["observed"], known["mask"])
    for other in (stepwise, full, parallel_rows):
        assert_same_integers(other.draw(prior, request).values, drawn)
    np.testing.assert_array_equal(drawn[~known["mask"]], known["observed"][~known["mask"]])
    assert (drawn != known["observed"])[known["mask"]].any()


@pytest.mark.xla
@each_masked_kind
@pytest.mark.parametrize("method", ["cached", "parallel", "parallel_rows", "full"])
def test_every_example_may_have_options_of_its_own(kind: Any, method: Any) -> None:
    prior = prior_like(kind, GREY)
    uniforms = noise(prior, 3)
    options = {"temperature": [0.5, 1.0, 3.0], "top_k": [4, 1, 3], "top_p": [1.0, 0.5, 0.7]}
    together = sample(prior, 3, uniforms=uniforms, method=method, **options)
    for index in range(3):
        its_own = {name: values[index] for name, values in options.items()}
        alone = sample(prior, 1, uniforms=uniforms[index : index + 1], **its_own)
        assert_same_integers(together[index], alone[0])


@pytest.mark.xla
@each_kind
def test_what_is_known_before_a_pixel_decides_it(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    uniforms, observed = noise(prior), values_of(prior, SIZE, seed=9)
    hidden = np.zeros(GREY[:2], bool)
    hidden[2:] = True  # the lower half
    hidden = np.broadcast_to(hidden, (SIZE, *hidden.shape))
    drawn = cached.draw(prior, Request(uniforms, observed=observed, hidden=hidden)).values
    expected = observed.copy()
    for y, x in itertools.product(range(2, GREY[0]), range(GREY[1])):
        cdf = np.cumsum(np.exp(np.asarray(prior(expected), "float64")[:, y, x]), -1)
        expected[:, y, x] = (cdf <= uniforms[:, y, x] * cdf[:, -1:]).sum(-1, keepdims=True)
    assert_same_integers(drawn, expected)


@pytest.mark.xla
@each_kind
def test_extreme_options_draw_the_mode(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    greedy = np.asarray(cached(prior, noise(prior, 2), None, SamplingOptions(top_k=1)).values)
    np.testing.assert_array_equal(greedy[0], greedy[1])
    np.testing.assert_array_equal(greedy, prior.distribution.mode(prior(greedy)))
    np.testing.assert_array_equal(
        cached(prior, noise(prior, 2), None, SamplingOptions(top_p=1e-6)).values, greedy
    )
    np.testing.assert_array_equal(cached(prior, noise(prior, 2), None, SamplingOptions(1e-6)).values, greedy)


@pytest.mark.xla
@each_kind
def test_priors_in_mixed_bfloat16_draw_in_range(kind: Any) -> None:
    prior = catalogue.prior(kind, COLOUR, dtype="mixed_bfloat16")
    for loop in (cached, stepwise):
        drawn, nats, _ = loop(prior, noise(prior, 4))
        assert nats.dtype == "float32"
        assert 0 <= np.min(drawn) < np.max(drawn) < 4


@pytest.mark.xla
@each_kind
@pytest.mark.parametrize("grid", [(1, 5, 1), (5, 1, 3)], ids=str)
def test_narrow_grids(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid)
    expected = loop(prior, noise(prior))
    for other in (cached, parallel_rows):
        assert_same_integers(other(prior, noise(prior))[0], expected)


# Row by row, for someone who watches ----------------------------------------------------------------------


@pytest.mark.xla
def test_rows_come_one_after_the_other() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    given = condition_of(prior, SIZE)
    options: dict[str, Any] = {"condition": given, "seed": 3, "top_k": 3, **completion(prior)}
    height, width, channels = COLOUR
    rows = list(sample_rows(prior, SIZE, **options))
    assert [(row.shape, row.dtype) for row in rows] == [((SIZE, width, channels), "int32")] * height
    expected = sample(prior, SIZE, **options)
    assert_same_integers(np.stack(rows, axis=1), expected)
    assert_same_integers(sample(prior, SIZE, **options, progress=True), expected)


def test_progress_is_shown_of_one_group_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    expected = sample(prior, SIZE, seed=3)
    monkeypatch.setattr(draw, "AT_ONCE", 6)
    assert_same_integers(sample(prior, SIZE, seed=3, progress=True), expected)


def test_whoever_has_seen_enough_may_stop() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    given = condition_of(prior, SIZE)
    before = threading.active_count()
    growing = sample_rows(prior, SIZE, condition=given, seed=3)
    assert_same_integers(next(growing), sample(prior, SIZE, given, seed=3)[:, 0])
    growing.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("method", ["cached", "parallel"])
def test_progress_is_shown_on_a_terminal(
    method: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    sample(prior, SIZE, seed=0, method=method, progress=True)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    sample(prior, SIZE, seed=0, method=method, progress=True)
    assert "drawing" in capsys.readouterr().out


# Noise ---------------------------------------------------------------------------------------------------


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


# Likelihood ----------------------------------------------------------------------------------------------


@pytest.mark.xla
@each_kind
@pytest.mark.parametrize(("grid", "condition"), MODELS[:2])
def test_reported_likelihood_is_log_prob(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    given = condition_of(prior, SIZE)
    values, nats, _ = cached(prior, noise(prior), given)
    np.testing.assert_allclose(nats, prior.log_prob(np.asarray(values), given), rtol=1e-5)


@each_kind
def test_reported_likelihood_ignores_options_and_what_was_observed(kind: Any) -> None:
    prior = prior_like(kind, GREY)
    known = completion(prior)
    request = Request(noise(prior), None, SamplingOptions(0.5, 2), known["observed"], known["mask"])
    values, nats, _ = cached.draw(prior, request)
    logits = np.asarray(prior(np.asarray(values)), "float64")
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    each = np.take_along_axis(logits, np.asarray(values), -1)[..., 0]
    np.testing.assert_allclose(nats, (each * known["mask"]).sum((1, 2)), rtol=1e-5, atol=1e-5)


def chi_square(observed: np.ndarray, expected: np.ndarray) -> float:
    """Standard deviations of the statistic above its mean, cells with few expected counts put together."""
    order = np.argsort(expected)
    small = np.cumsum(expected[order]) < 10
    cells = np.where(small, 0, np.cumsum(~small))
    observed, expected = (np.bincount(cells, weights=counts[order]) for counts in (observed, expected))
    observed, expected = observed[expected > 0], expected[expected > 0]
    freedom = len(expected) - 1
    return float((((observed - expected) ** 2 / expected).sum() - freedom) / math.sqrt(2 * freedom))


@pytest.mark.xla
@each_masked_kind
@pytest.mark.parametrize(
    ("grid", "levels", "condition"),
    [((2, 2, 1), 4, "none"), ((1, 2, 3), 3, "labels")],
    ids=["grey", "colour"],
)
def test_fifty_thousand_samples_follow_the_enumerated_probabilities(
    kind: Any, grid: Any, levels: int, condition: str
) -> None:
    count, size = 50_000, math.prod(grid)
    prior = catalogue.prior(kind, grid, condition, distribution=Categorical(levels))
    grids = np.array(list(itertools.product(range(levels), repeat=size)), "int32").reshape(-1, *grid)
    label = None if condition == "none" else np.array([2])
    probabilities = np.exp(prior.log_prob(grids, None if label is None else label.repeat(len(grids))))
    drawn = cached(prior, noise(prior, count), None if label is None else label.repeat(count)).values
    index = np.asarray(drawn).reshape(count, -1) @ levels ** np.arange(size)[::-1]
    deviations = chi_square(
        np.bincount(index, minlength=len(grids)), count * np.asarray(probabilities, "float64")
    )
    assert -5 < deviations < 5


# Compiled samplers ---------------------------------------------------------------------------------------


@pytest.mark.xla
def test_other_seeds_and_options_do_not_trace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    call = compilation._call

    def count(*arguments: Any) -> Any:
        traces.append(arguments)
        return call(*arguments)

    monkeypatch.setattr(compilation, "_call", count)
    prior = catalogue.prior(GatedPixelCNN, (2, 3, 1), "labels")
    options: dict[str, Any] = {"temperature": 1.0, "top_k": 2, "top_p": 0.9}
    sample(prior, 2, np.array([0, 1]), seed=0, **options)
    assert len(traces) == 1
    for seed, temperature, top_k, top_p in [
        (1, 0.5, 3, 0.3),
        (2, 2, 1, 1.0),
        (None, np.float64(3), np.int64(4), 1),
    ]:
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        sample(prior, 2, np.array([2, 0]), seed=seed, **options)
    assert len(traces) == 1
    sample(prior, 1, np.arange(1), seed=0, **options)
    assert len(traces) == 1  # for two cores, two samples are one each
    sample(prior, 8, np.arange(8) % 3, seed=0, **options)
    assert len(traces) == 2  # four each
    sample(prior, 5, np.arange(5) % 3, seed=0, **options)
    assert len(traces) == 2  # four and one


def test_a_few_sizes_serve_all_requests() -> None:
    def sizes(count: int) -> list[int]:
        return [len(part) for part in few_sized_shards(count, workers=2)]

    asked = [sizes(count) for count in range(1, 21)]
    assert {size for each in asked for size in each} == {1, 4, 8}
    assert asked[:6] == [[1], [1, 1], [4], [4], [4, 1], [4, 4]]
    assert asked[15:18] == [[8, 8], [8, 8, 1], [8, 8, 4]]
    assert sizes(1000) == [128] * 8
    # An accelerator takes whatever comes at once.
    assert [len(part) for part in few_sized_shards(33, 1, 1024, overhead=1024)] == [64]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 23, 100, 1000])
@pytest.mark.parametrize("divide", [shards, few_sized_shards])
def test_shards_share_out_all_examples(size: int, divide: Any) -> None:
    parts = divide(size, workers=2, most=32)
    assert len({len(part) for part in parts[:-1]}) <= 1
    assert max(map(len, parts)) <= 32
    np.testing.assert_array_equal(np.unique(np.concatenate(parts)), np.arange(size))
    (joined,) = run_in_shards(lambda index: (index * 2,), parts)
    np.testing.assert_array_equal(joined, np.arange(size) * 2)


@pytest.mark.xla
def test_compiled_samplers_honour_changed_weights() -> None:
    prior = catalogue.prior(GatedPixelCNN, (2, 3, 1))
    uniforms = noise(prior)
    before = sample(prior, SIZE, uniforms=uniforms)
    randomise(prior, seed=7)
    after = sample(prior, SIZE, uniforms=uniforms)
    assert (before != after).any()
    assert_same_integers(after, loop(prior, uniforms))


@pytest.mark.xla
@pytest.mark.parametrize(
    ("kind", "method"), [(PixelCNN, "cached"), (PixelCNN, "full"), (PixelCNNPP, "cached")]
)
def test_a_sampled_prior_can_be_collected(kind: Any, method: Any) -> None:
    prior = catalogue.prior(kind, (3, 2, 1))
    sample(prior, 1, seed=0, method=method)
    alive = weakref.ref(prior)
    entries = len(compilation._COMPILED)
    del prior
    gc.collect()
    assert alive() is None
    gc.collect()  # what was only kept for the prior: its copy with plain kernels
    assert len(compilation._COMPILED) < entries


# Bad input -----------------------------------------------------------------------------------------------

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
            r"Unknown sampling method 'fast'; expected 'cached', 'parallel_rows', 'full', or of whole grids",
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
