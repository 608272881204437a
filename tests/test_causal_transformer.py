"""The causal Transformer: its steps, caches, prefill and samples. H ≠ W; weights are random, biases too."""

import functools
import itertools
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, prior_like, values_of
from drawing import assert_same_integers, by_definition, completion, drawn_by, noise
from keras import tree
from rollouts import teacher_forced, whole

from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.priors import CausalTransformer
from tfprior.sampling import cached, full, sample, sample_rows, stepwise

made = functools.partial(prior_like, CausalTransformer)


@pytest.mark.each_once
@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize(
    ("grid", "condition"), [(GREY, "none"), (GREY, "maps"), (COLOUR, "labels"), (COLOUR, "maps")]
)
def test_steps_equal_the_call(positions: Any, grid: Any, condition: str) -> None:
    prior = made(grid, condition, positions=positions)
    values, given = values_of(prior, 2), condition_of(prior, 2)
    params, _ = teacher_forced(prior, values, given)
    np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {"pre_norm": False, "activation": "relu"},
        {"norm": "rms", "activation": "swiglu", "mlp_dim": 12},
        {"num_heads": 1, "activation": "gelu", "value_embedding_dim": 3},
        {"distribution": DiscretizedLogisticMixture(2, 4)},  # which takes all channels together
    ],
    ids=str,
)
def test_steps_equal_the_call_with_other_options(changes: Any) -> None:
    prior = catalogue.prior(CausalTransformer, COLOUR, "vectors", **changes)
    values, given = values_of(prior, 2), condition_of(prior, 2)
    params, _ = teacher_forced(prior, values, given)
    np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


def test_examples_may_stand_at_different_positions() -> None:
    prior = made(COLOUR, "labels")
    positions = np.array([0, 1, 5, prior.num_steps - 1], "int32")
    values, given = values_of(prior, 4, 5), condition_of(prior, 4)
    _, states = teacher_forced(prior, values, given)
    picked = [
        tree.map_structure(lambda tensor, index=index: np.asarray(tensor)[[index]], states[position])
        for index, position in enumerate(positions)
    ]
    mixed = tree.map_structure(lambda *parts: np.concatenate(parts), *picked)
    flat, rows = values.reshape(4, prior.num_steps, -1), np.arange(4)
    previous, current = flat[rows, np.maximum(positions - 1, 0)], flat[rows, positions]
    params, _ = prior.step(mixed, previous, positions, current)
    expected = whole(prior, values, given).reshape(4, prior.num_steps, -1)[rows, positions]
    np.testing.assert_allclose(params, expected, atol=1e-5)


@pytest.mark.parametrize("grid", [GREY, COLOUR], ids=str)
def test_what_is_known_is_taken_in_at_once(grid: Any) -> None:
    prior = made(grid, "maps")
    values, given = values_of(prior, 2), condition_of(prior, 2)
    flat, expected = values.reshape(2, prior.num_steps, -1), whole(prior, values, given)
    for known in (0, 1, 7, prior.num_steps - 1):
        unknown = np.where(np.arange(prior.num_steps)[:, None] < known, flat, 3 - flat)
        state = prior.prefill(unknown.reshape(values.shape), given)
        at = np.full(2, known, "int32")
        params, _ = prior.step(state, flat[:, max(known - 1, 0)], at, flat[:, known])
        np.testing.assert_allclose(params, expected.reshape(2, prior.num_steps, -1)[:, known], atol=1e-5)


@pytest.mark.slow("grid0")
@pytest.mark.xla
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "none"), (COLOUR, "labels")])
def test_every_way_draws_the_same_integers(grid: Any, condition: str) -> None:
    prior = made(grid, condition)
    uniforms, given = noise(prior, 4), condition_of(prior, 4)
    expected = by_definition(prior, uniforms, given)
    assert len(np.unique(expected)) > 2
    for method in ("cached", "parallel", "full"):
        assert_same_integers(sample(prior, 4, given, uniforms, method=method), expected)
    drawn = drawn_by(stepwise, prior, uniforms, given)
    assert_same_integers(drawn.values, expected)
    np.testing.assert_allclose(drawn.log_prob, prior.log_prob(expected, given), rtol=1e-5)
    with pytest.raises(ValueError, match="draws from a RasterPrior, and CausalTransformer is none"):
        sample(prior, 4, given, uniforms, method="parallel_rows")


@pytest.mark.slow("[0]", "[1]")
@pytest.mark.parametrize("first", [0, 1, 2])
def test_completion_with_holes_and_known_rows_above(first: int) -> None:
    prior = made(COLOUR, "labels")
    known = completion(prior)
    known["mask"][:, :first] = False
    uniforms, given = noise(prior), condition_of(prior, 16)
    drawn = drawn_by(cached, prior, uniforms, given, temperature=0.7, **known).values
    for loop in (stepwise, full):
        assert_same_integers(drawn_by(loop, prior, uniforms, given, temperature=0.7, **known).values, drawn)
    rows = sample_rows(prior, 16, condition=given, uniforms=uniforms, temperature=0.7, **known)
    assert_same_integers(np.stack(list(rows), 1), drawn)
    np.testing.assert_array_equal(drawn[~known["mask"]], known["observed"][~known["mask"]])


def test_a_token_sees_itself_and_those_before_it_while_dropout_is_drawn() -> None:
    """Perturbing position t leaves what comes before it, and its own parameters, as they are to the bit."""
    import keras

    prior = catalogue.prior(CausalTransformer, GREY, dropout=0.5)
    values = values_of(prior, 1)
    for y, x in itertools.product(range(0, GREY[0], 2), range(0, GREY[1], 3)):
        changed, params = values.copy(), []
        changed[:, y, x] = (changed[:, y, x] + 1) % 4
        for given in (values, changed):
            keras.utils.set_random_seed(1)
            for layer in prior._flatten_layers():
                if isinstance(layer, keras.layers.Dropout):
                    layer.seed_generator.state.assign(layer.seed_generator.state * 0 + 7)
            params.append(np.asarray(prior(given, training=True)).reshape(prior.num_steps, -1))
        position = y * GREY[1] + x
        same = (params[0] == params[1]).all(-1)
        assert same[: position + 1].all()
        if position + 1 < prior.num_steps:
            assert not same[position + 1 :].any()


def test_enumeration_sums_to_one() -> None:
    prior = catalogue.prior(CausalTransformer, (1, 2, 3), distribution=Categorical(3))
    every = np.stack(np.meshgrid(*[np.arange(3)] * 6, indexing="ij"), -1).reshape(-1, 1, 2, 3)
    assert np.exp(prior.log_prob(every)).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_dim": 9}, "got 9 features for num_heads=2; expected a multiple of the heads"),
        ({"num_layers": 0}, "CausalTransformer got num_layers=0; expected a positive integer"),
        (
            {"positions": "rotated"},
            "Unknown positions 'rotated'; expected one of learned, sinusoidal, rotary",
        ),
        (
            {"positions": "rotary", "hidden_dim": 4},
            "heads of 2 features; expected a multiple of 4 for rotary",
        ),
        ({"activation": "elu"}, "Unknown activation 'elu'; expected one of gelu_tanh, gelu, relu, swiglu"),
        ({"norm": "batch"}, "Unknown norm 'batch'; expected one of layer, rms"),
        ({"mlp_dim": 0}, "CausalTransformer got mlp_dim=0; expected a positive integer"),
    ],
)
def test_bad_options_are_refused(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        catalogue.prior(CausalTransformer, **changes)
