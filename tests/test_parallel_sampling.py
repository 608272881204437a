"""Fixed-point sampling: the same integers as one pixel after the other, in as many runs as it takes.

Shapes: B batch · H W C grid, H ≠ W.
"""

import itertools
import math
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import COLOUR, EVEN_COLOUR, GREY, condition_of, each_kind, prior_like
from drawing import SIZE, assert_same_integers, completion, noise

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import AutoregressivePrior, GatedPixelCNN, PixelCNNPP
from tfprior.sampling import Drawn, cached, parallel, running, sample, sample_parallel
from tfprior.sampling.request import Request


@pytest.mark.slow("GatedPixelCNN")
@pytest.mark.each_once
@pytest.mark.xla
@each_kind
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "none"), (EVEN_COLOUR, "maps")])
def test_the_fixed_point_is_the_sample(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    uniforms, given = noise(prior), condition_of(prior, SIZE)
    drawn = sample_parallel(prior, SIZE, condition=given, uniforms=uniforms)
    assert_same_integers(drawn.values, cached(prior, uniforms, given)[0])
    assert drawn.runs.shape == (SIZE,)
    assert 1 <= drawn.runs.min() < drawn.runs.max() <= prior.num_steps * prior.channel_groups


@pytest.mark.xla
def test_under_every_option() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    options: dict[str, Any] = {"temperature": 0.7, "top_k": 3, "top_p": 0.8, "seed": 1, **completion(prior)}
    given = condition_of(prior, SIZE)
    expected = sample(prior, SIZE, given, **options)
    for method in ("parallel", "parallel_rows"):
        assert_same_integers(sample(prior, SIZE, given, method=method, **options), expected)


@pytest.mark.slow
@pytest.mark.xla
def test_coupled_channels_settle_a_pixel_a_run() -> None:
    mixture = DiscretizedLogisticMixture(2, 5)
    prior = catalogue.prior(PixelCNNPP, (2, 4, 3), distribution=mixture)
    drawn = sample_parallel(prior, SIZE, seed=2)
    assert_same_integers(drawn.values, sample(prior, SIZE, seed=2))
    assert drawn.runs.max() <= prior.num_steps


@pytest.mark.parametrize("by_rows", [False, True])
def test_runs_are_counted_until_an_example_stands_still(by_rows: bool) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    height, width, _ = GREY
    uniforms, values = noise(prior), np.zeros((SIZE, *GREY), "int32")
    expected = np.zeros(SIZE, int)
    spans = [slice(y, y + 1) for y in range(height)] if by_rows else [slice(None)]
    for rows in spans:
        moving = np.full(SIZE, True)
        for _ in range(width if by_rows else height * width):
            drawn, _ = prior.distribution.sample(prior(values), uniforms)
            drawn = np.where(np.arange(height)[:, None, None] < rows.stop if by_rows else True, drawn, values)
            expected += moving
            moving &= (drawn[:, rows] != values[:, rows]).any((1, 2, 3))
            values[:, rows] = drawn[:, rows]
            if not moving.any():
                break
    drawn = sample_parallel(prior, SIZE, by_rows=by_rows, uniforms=uniforms)
    np.testing.assert_array_equal(drawn.runs, expected)
    assert_same_integers(drawn.values, values)


def test_what_stands_still_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    sizes = []
    compiled = parallel.compiled

    def watched(*arguments: Any) -> Any:
        run = compiled(*arguments)

        def note(values: np.ndarray, request: Any) -> Any:
            sizes.append(len(values))
            return run(values, request)

        return note

    monkeypatch.setattr(parallel, "compiled", watched)
    runs = sample_parallel(prior, SIZE, seed=5).runs
    moving = [int((runs > done).sum()) for done in range(runs.max())]
    assert sizes == [2 ** math.ceil(math.log2(count)) for count in moving]
    assert sizes[-1] < sizes[0] == SIZE


def test_many_are_drawn_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    expected = sample_parallel(prior, SIZE, seed=5)
    monkeypatch.setattr(parallel, "AT_ONCE", 6)
    drawn = sample_parallel(prior, SIZE, seed=5)
    assert_same_integers(drawn.values, expected.values)
    np.testing.assert_array_equal(drawn.runs, expected.runs)


def test_a_known_image_takes_one_run() -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    observed = catalogue.values_of(prior, SIZE)
    drawn = sample_parallel(prior, SIZE, observed=observed, mask=np.zeros(GREY[:2], bool), seed=0)
    np.testing.assert_array_equal(drawn.values, observed)
    np.testing.assert_array_equal(drawn.runs, 1)


def test_rows_have_no_bar() -> None:
    with pytest.raises(ValueError, match=r"by_rows=True and progress=True; expected one of them"):
        sample_parallel(prior_like(GatedPixelCNN, GREY), 1, by_rows=True, progress=True)


class Backwards(AutoregressivePrior):
    """No raster prior: it has no rows."""

    def call(self, inputs: Any, training: bool = False) -> Any:
        return np.zeros((*inputs.shape[:3], 4), "float32")

    def state_spec(self) -> Any:
        return {}

    def advance(self, state: Any, previous: Any, position: Any) -> Any:
        return state

    def params_at(self, state: Any, position: Any, current: Any = None) -> Any:
        return np.zeros((len(position), 4), "float32"), state


def test_rows_are_for_raster_priors() -> None:
    prior = Backwards(GREY, Categorical(4))
    with pytest.raises(ValueError, match="'parallel_rows' draws from a RasterPrior, and Backwards is none"):
        sample(prior, 1, method="parallel_rows")


@pytest.mark.parametrize("faster", ["cached", "parallel"])
def test_auto_measures_once_on_an_accelerator(faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior = catalogue.prior(GatedPixelCNN, (2, 3, 1))
    expected, clock, runs = sample(prior, 4, seed=0), itertools.count(), []

    def run(method: str, result: Any) -> Any:
        def drawn(*_: Any) -> Any:
            runs.append(method)
            for _ in range(0 if method == faster else 5):
                next(clock)
            return result

        return drawn

    monkeypatch.setattr(running, "on_cpu", lambda: False)
    monkeypatch.setattr(running, "draw_grids", run("cached", Drawn(expected, None)))
    monkeypatch.setattr(running, "iterate", run("parallel", None))
    monkeypatch.setattr(running.time, "perf_counter", lambda: next(clock))
    request = Request.of(prior, 4)
    for _ in range(2):
        assert running.fastest(prior, request) == faster
    assert runs == ["cached", "cached", "parallel", "parallel"]
    monkeypatch.undo()
    assert running.fastest(prior, request) == "cached"
    assert_same_integers(sample(prior, 4, seed=0, method="auto"), expected)
