"""Classifier-free guidance: conditions that are lost in training, and what is drawn away from none."""

import functools
import itertools
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import COLOUR, GREY, batch_of, condition_of, prior_like, values_of
from drawing import assert_same_integers, network, noise

from tfprior import compilation
from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.layers.condition_encoding import ConditionEncoding
from tfprior.priors import (
    AnyOrderTransformer,
    CausalTransformer,
    GatedPixelCNN,
    MaskedTransformer,
    PixelCNN,
    PixelCNNPP,
    Prior,
)
from tfprior.sampling import sample, sample_parallel, sample_rows
from tfprior.sampling.request import Request
from tfprior.sampling.running import draw_grids, sampler_of

made = functools.partial(prior_like, condition_dropout=0.2)


def guided_by_definition(
    prior: Prior, uniforms: np.ndarray, condition: np.ndarray, guidance: Any
) -> np.ndarray:
    """In NumPy: the network with and without the condition for every channel of every pixel, inverse CDF."""
    values = np.zeros((len(uniforms), *prior.grid_shape), "int32")
    run, levels = compilation.compiled(network, prior, jit_compile=False), prior.distribution.num_levels
    weight = np.broadcast_to(np.asarray(guidance, "float64"), len(uniforms))[:, None]
    assert prior.condition_kind is not None
    conditions = condition, prior.condition_kind.none(len(uniforms))
    for y, x, c in itertools.product(*map(range, prior.grid_shape)):
        given, without = (
            np.asarray(run(values, each), "float64").reshape(*values.shape, levels)[:, y, x, c]
            for each in conditions
        )
        logits = (1 + weight) * given - weight * without
        cdf = np.cumsum(np.exp(logits - logits.max(-1, keepdims=True)), -1)
        values[:, y, x, c] = (cdf <= uniforms[:, y, x, c, None] * cdf[:, -1:]).sum(-1)
    return values


@pytest.mark.slow("-PixelCNN", "[PixelCNN", "CausalTransformer", "AnyOrderTransformer")
@pytest.mark.parametrize(
    ("kind", "grid", "condition"),
    [
        (PixelCNN, COLOUR, "maps"),
        (GatedPixelCNN, GREY, "labels"),
        (CausalTransformer, GREY, "vectors"),
        (AnyOrderTransformer, GREY, "labels"),
    ],
)
def test_every_method_draws_from_guided_logits(kind: Any, grid: Any, condition: str) -> None:
    prior = made(kind, grid, condition)
    uniforms, given, guidance = noise(prior, 5), condition_of(prior, 5), np.linspace(0, 3, 5)
    expected = guided_by_definition(prior, uniforms, given, guidance)
    plain = sample(prior, 5, given, uniforms)
    assert (expected != plain).any()
    assert_same_integers(expected[0], plain[0])
    for method in ("cached", "full", "parallel", *(["auto", "parallel_rows"] if kind is PixelCNN else [])):
        drawn = sample(prior, 5, given, uniforms, method=method, guidance=guidance)
        assert_same_integers(drawn, expected)
    assert_same_integers(
        sample_parallel(prior, 5, condition=given, uniforms=uniforms, guidance=guidance).values, expected
    )
    if kind in (PixelCNN, CausalTransformer):
        rows = sample_rows(prior, 5, condition=given, uniforms=uniforms, guidance=guidance)
        assert_same_integers(np.stack(list(rows), 1), expected)
    request = Request.of(prior, 5, given, uniforms, guidance=guidance)
    nats = draw_grids(prior, sampler_of(prior), request).log_prob  # as if there were no guidance
    np.testing.assert_allclose(nats, prior.log_prob(expected, given), rtol=1e-5)


@pytest.mark.slow("halton")
@pytest.mark.parametrize("method", ["sequential", "maskgit", "halton"])
def test_masked_priors_are_guided_too(method: str) -> None:
    prior = made(MaskedTransformer, GREY, "labels")
    given, shown = condition_of(prior, 4), {"method": method, "seed": 1}
    plain = sample(prior, 4, given, **shown)
    assert_same_integers(sample(prior, 4, given, guidance=0, **shown), plain)
    assert (sample(prior, 4, given, guidance=4, **shown) != plain).any()


def test_what_is_known_stays() -> None:
    prior = made(GatedPixelCNN, GREY, "labels")
    images, given = values_of(prior, 4), condition_of(prior, 4)
    mask = np.arange(GREY[1]) > np.zeros((GREY[0], 1))
    drawn = prior.complete(images, mask, given, seed=0, guidance=2)
    np.testing.assert_array_equal(drawn[:, ~mask], images[:, ~mask])
    assert (drawn != prior.complete(images, mask, given, seed=0)).any()


@pytest.mark.parametrize("shape", [None, (4,), (3, 2, 4)])
def test_a_share_of_training_examples_loses_its_condition(shape: Any) -> None:
    keras.utils.set_random_seed(0)
    layer = ConditionEncoding(3 if shape is None else None, 4, dropout=0.25)
    layer.build_for(shape)
    count = 2000
    given = np.ones((count, *(shape or ())), "int32" if shape is None else "float32")
    none = np.full_like(given, 3 if shape is None else np.nan)
    read, unread, trained = (
        np.asarray(layer(each, training=training))
        for each, training in ((given, False), (none, False), (given, True))
    )
    lost = (trained == unread).all(axis=(1, 2, 3))
    assert 0.2 < lost.mean() < 0.3
    np.testing.assert_array_equal(trained[~lost], read[~lost])
    assert np.isfinite(unread).all()
    assert (read != unread).all()


def test_what_stands_for_none_is_learned_and_kept(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN.from_config(made(GatedPixelCNN, GREY, "maps").get_config())
    prior.compile(optimizer="adam")
    before = np.array(prior.read_condition.none)
    prior.fit(batch_of(prior, 16), batch_size=4, epochs=2, verbose=0)
    assert (np.array(prior.read_condition.none) != before).all()
    prior.save(tmp_path / "prior.keras")
    again = keras.models.load_model(tmp_path / "prior.keras")
    given, asked = condition_of(prior, 3), {"seed": 0, "guidance": 2}
    np.testing.assert_array_equal(sample(again, 3, given, **asked), sample(prior, 3, given, **asked))


def test_bad_guidance_is_refused() -> None:
    prior = made(GatedPixelCNN, GREY, "labels")
    given = condition_of(prior, 2)
    for guidance in (-1, np.nan, "strong", [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="expected a number from 0, or one for each of 2 samples"):
            sample(prior, 2, given, guidance=guidance)
    with pytest.raises(ValueError, match="this GatedPixelCNN is unconditional; leave it out"):
        sample(prior_like(GatedPixelCNN, GREY), 2, guidance=1)
    with pytest.raises(ValueError, match="was trained with every condition; leave it out, or train"):
        sample(prior_like(GatedPixelCNN, GREY, "labels"), 2, given, guidance=1)
    mixture = made(PixelCNNPP, GREY, "labels", distribution=DiscretizedLogisticMixture(1, 4))
    with pytest.raises(ValueError, match=r"DiscretizedLogisticMixture.*, which gives no logits"):
        sample(mixture, 2, given, guidance=1)
    with pytest.raises(ValueError, match=r"condition_dropout=0\.1; expected a share in"):
        prior_like(GatedPixelCNN, GREY, condition_dropout=0.1)
    for share in (1.5, -0.1, np.nan, "some", None):
        with pytest.raises(ValueError, match=r"condition_dropout=.*; expected a share in \[0, 1\)"):
            prior_like(GatedPixelCNN, GREY, "labels", condition_dropout=share)
    with pytest.raises(ValueError, match=r"Labels lie in \[0, 3\]"):  # none is not for users to give
        prior.log_prob(values_of(prior, 2), np.array([0, 3]))
