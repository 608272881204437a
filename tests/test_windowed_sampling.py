"""Several positions at once, behind those that a cache holds: the same integers as one after the other.

Shapes: B batch · H W C grid, H ≠ W.
"""

from typing import Any

import numpy as np
import pytest
from catalogue import SEQUENCE, condition_of, prior_like, values_of
from drawing import assert_same_integers, noise

from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.priors import (
    AnyOrderTransformer,
    CausalTransformer,
    EncoderDecoderTransformer,
    GatedPixelCNN,
)
from tfprior.sampling import sample, sample_parallel
from tfprior.sampling.request import Request
from tfprior.sampling.running import draw_grids, sampler_of

SIZE = 6
CODES = (2, 3, 3)
MODELS: dict[str, tuple[Any, ...]] = {
    "any order, channels": (AnyOrderTransformer, CODES, "labels", {}),
    "any order, together": (
        AnyOrderTransformer,
        CODES,
        "none",
        {"distribution": DiscretizedLogisticMixture(2, 4)},
    ),
    "causal, channels": (CausalTransformer, CODES, "labels", {"num_layers": 1, "positions": "sinusoidal"}),
    "sequences": (EncoderDecoderTransformer, SEQUENCE, "none", {"num_layers": 1, "end_value": 2}),
}


@pytest.mark.slow("any order", "causal, channels")
@pytest.mark.parametrize("name", MODELS)
def test_windows_draw_the_same(name: str) -> None:
    kind, grid, condition, changes = MODELS[name]
    prior = prior_like(kind, grid, condition, **changes)
    asked: dict[str, Any] = {"condition": condition_of(prior, SIZE), "uniforms": noise(prior, SIZE)}
    orders = np.random.default_rng(2).permuted(np.tile(np.arange(prior.num_steps), (SIZE, 1)), axis=1)
    mask = np.random.default_rng(3).random((SIZE, *grid[:2])) < 0.5
    mask[0], mask[1] = True, False
    if prior.end_value is not None:
        mask[:] = np.arange(grid[1]) > 1
    known = {"observed": values_of(prior, SIZE), "mask": mask, "temperature": 0.8}
    for window, more in ((prior.num_steps, {}), (2, known)):
        options = {**asked, **more, **({"order": orders} if kind is AnyOrderTransformer else {})}
        drawn = sample_parallel(prior, SIZE, window=window, **options)
        assert_same_integers(drawn.values, sample(prior, SIZE, **options))
        assert drawn.runs.max() < prior.num_steps * prior.channel_groups


def test_runs_are_those_of_values_or_fewer() -> None:
    prior = prior_like(AnyOrderTransformer, (3, 4, 1), "maps", positions="rotary")
    given, uniforms = condition_of(prior, SIZE), noise(prior, SIZE)
    runs = {
        window: sample_parallel(prior, SIZE, condition=given, uniforms=uniforms, window=window).runs
        for window in (1, 4, 12)
    }
    assert (runs[1] == prior.num_steps).all()
    assert (runs[4] < runs[1]).all()
    # Examples that are drawn together move together: by the slowest of them.
    whole = sample_parallel(prior, SIZE, condition=given, uniforms=uniforms).runs
    assert runs[12].max() <= whole.max()
    request = Request.of(prior, SIZE, given, uniforms, order="halton")
    drawn = draw_grids(prior, sampler_of(prior, "windowed", window=5), request)
    np.testing.assert_allclose(drawn.log_prob, prior.log_prob(drawn.values, given, order="halton"), rtol=1e-5)


@pytest.mark.xla
def test_compiled_and_guided_windows_draw_the_same() -> None:
    prior = prior_like(AnyOrderTransformer, (2, 3, 1), "labels", condition_dropout=0.2)
    options = {"condition": condition_of(prior, 3), "uniforms": noise(prior, 3), "guidance": 2}
    drawn = sample(prior, 3, method="windowed", window=3, order="halton", **options)
    assert_same_integers(drawn, sample(prior, 3, order="halton", **options))


def test_what_has_no_window_is_refused() -> None:
    prior = prior_like(AnyOrderTransformer, (3, 4, 1))
    with pytest.raises(ValueError, match="Windowed sampling got window=0; expected a positive integer"):
        sample_parallel(prior, 1, window=0)
    with pytest.raises(ValueError, match="method='cached' got window=3; leave it out, or draw from a Transf"):
        sample(prior, 1, method="cached", window=3)
    with pytest.raises(ValueError, match="method='windowed' draws one by one and got iterations=2"):
        sample(prior, 1, method="windowed", iterations=2)
    with pytest.raises(ValueError, match="Got window=3 and by_rows or progress; expected the window alone"):
        sample_parallel(prior, 1, window=3, progress=True)
    with pytest.raises(ValueError, match="Unknown sampling method 'windowed' of GatedPixelCNN"):
        sample(prior_like(GatedPixelCNN, (3, 4, 1)), 1, method="windowed")


def test_what_is_hidden_before_what_is_known_is_drawn_too() -> None:
    prior = prior_like(AnyOrderTransformer, (2, 3, 1), trained_orders="raster")
    uniforms, observed, mask = noise(prior, 4), values_of(prior, 4), np.zeros((2, 3), bool)
    mask[0, :2] = True
    expected = np.where(mask[..., None], sample(prior, 4, uniforms=uniforms), observed)
    for method in ("cached", "full"):
        drawn = sample(prior, 4, uniforms=uniforms, observed=observed, mask=mask, method=method)
        assert_same_integers(drawn, expected)
