"""The any-order Transformer: what it sees, its likelihoods along orders, and what it draws around holes.

Shapes: B batch · H W C grid, H ≠ W · P positions. Weights are random, biases too.
"""

import functools
import itertools
import math
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, prior_like, values_of
from drawing import assert_same_integers, noise
from keras import ops

from tfprior.compression import compress, decompress
from tfprior.compression.container import SIZE
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.orders import declared_orders, halton, known_first
from tfprior.priors import AnyOrderTransformer, GatedPixelCNN
from tfprior.sampling import sample, sample_rows
from tfprior.training import AnnealToRaster

made = functools.partial(prior_like, AnyOrderTransformer)


def orders_of(prior: Any, count: int, seed: int = 0) -> np.ndarray:
    """An order for each example: (B, P)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(prior.num_steps) for _ in range(count)]).astype("int32")


def params(prior: Any, values: Any, condition: Any, order: Any) -> np.ndarray:
    order = np.broadcast_to(order, (len(values), prior.num_steps))
    found = prior.params(values, prior.encode_condition(condition), order)
    return np.asarray(found).reshape(len(values), prior.num_steps, -1)


@pytest.mark.each_once
@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "none"), (GREY, "maps"), (COLOUR, "labels")])
def test_steps_along_an_order_equal_the_two_passes(positions: Any, grid: Any, condition: str) -> None:
    prior = made(grid, condition, positions=positions)
    values, given, orders = values_of(prior, 3), condition_of(prior, 3), orders_of(prior, 3)
    expected, flat, rows = (
        params(prior, values, given, orders),
        values.reshape(3, prior.num_steps, -1),
        range(3),
    )
    state, previous = prior.initial_state(3, given, orders), np.full_like(flat[:, 0], 3)
    for rank in range(prior.num_steps):
        position = orders[:, rank]
        current = flat[rows, position]
        found, state = prior.step(state, previous, position, current)
        np.testing.assert_allclose(found, expected[rows, position], rtol=0, atol=1e-5)
        previous = current


def test_the_call_is_along_raster_order() -> None:
    prior = made(GREY)
    values = values_of(prior)
    in_raster = params(prior, values, None, np.arange(prior.num_steps, dtype="int32"))
    np.testing.assert_allclose(np.asarray(prior(values)).reshape(in_raster.shape), in_raster, atol=1e-6)


@pytest.mark.parametrize("grid", [(2, 3, 1), (1, 2, 3)], ids=str)
def test_a_query_sees_what_was_placed_before_it_and_nothing_else(grid: Any) -> None:
    """Both ways: every value before a token in the order moves its parameters, and no other one does."""
    prior = made(grid, hidden_dim=24)
    channels = grid[-1]
    for order in orders_of(prior, 2, seed=3):
        tokens = (order[:, None] * channels + np.arange(channels)).ravel()
        ranks = np.argsort(tokens)
        moved = np.zeros((len(tokens), len(tokens)), bool)
        for seed, token in itertools.product(range(3), range(len(tokens))):
            values = values_of(prior, 1, seed)
            changed = values.copy().reshape(-1)
            changed[token] = (changed[token] + 1 + seed) % 4
            # One by one: the rows of one product may be rounded otherwise.
            pair = [params(prior, grid, None, order) for grid in (values, changed.reshape(values.shape))]
            one, other = (each.reshape(len(tokens), -1) for each in pair)
            moved[:, token] |= (one != other).any(-1)
        np.testing.assert_array_equal(moved, ranks[None, :] < ranks[:, None])


def every_grid(shape: tuple[int, ...], levels: int) -> np.ndarray:
    axes = np.meshgrid(*[np.arange(levels)] * int(np.prod(shape)), indexing="ij")
    return np.stack(axes, -1).reshape(-1, *shape)


@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 2, 3)], ids=str)
def test_the_mass_along_every_order_is_one(shape: Any) -> None:
    prior = catalogue.prior(AnyOrderTransformer, shape, distribution=Categorical(3))
    every, reverse = every_grid(shape, 3), np.arange(prior.num_steps)[::-1]
    along = [prior.log_prob(every, order=order) for order in ("raster", "halton", reverse)]
    for nats in along:
        assert np.exp(nats).sum() == pytest.approx(1, abs=1e-4)
    assert np.abs(along[0] - along[-1]).max() > 1e-2  # along another order it is another number
    assert np.exp(prior.log_prob(every, orders=5)).sum() == pytest.approx(1, abs=1e-4)
    mixed = [prior.log_prob(every, order=order) for order in declared_orders(5, prior.grid_shape)]
    np.testing.assert_allclose(prior.log_prob(every, orders=5), np.log(np.exp(mixed).mean(0)), rtol=1e-5)


def test_the_mass_of_a_visible_part_is_one_and_that_of_what_it_leaves_open() -> None:
    prior = catalogue.prior(AnyOrderTransformer, (2, 3, 1), distribution=Categorical(3))
    every = every_grid((2, 3, 1), 3)
    mask = np.array([[False, True, False], [True, True, False]])
    nats = prior.marginal_log_prob(every, mask)
    visible = every[:, ~mask][..., 0]
    _, first, place = np.unique(visible, axis=0, return_index=True, return_inverse=True)
    assert np.exp(nats[first]).sum() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(nats, nats[first][place.ravel()], atol=1e-5)  # what is hidden has no say
    order = known_first(np.arange(6), mask.reshape(1, -1))[0]
    whole = np.exp(prior.log_prob(every, order=order))
    summed = np.zeros(len(first))
    np.add.at(summed, place.ravel(), whole)
    np.testing.assert_allclose(np.exp(nats[first]), summed, rtol=1e-4)


def test_completions_around_a_hole_have_the_enumerated_conditionals() -> None:
    """A chi-square test of what is drawn in a hole, given what lies on all sides of it."""
    prior = catalogue.prior(AnyOrderTransformer, (2, 3, 1), distribution=Categorical(3), seed=5)
    every, mask = every_grid((2, 3, 1), 3), np.array([[False, True, False], [False, True, False]])
    observed = values_of(prior, 1, seed=5)
    alike = (every == observed)[:, ~mask].all((1, 2))
    nats = prior.log_prob(every[alike], order=known_first(np.arange(6), mask.reshape(1, -1))[0])
    chances = np.exp(nats) / np.exp(nats).sum()
    count = 4000
    drawn = prior.complete(observed.repeat(count, 0), mask, seed=0)
    np.testing.assert_array_equal(drawn[:, ~mask], observed.repeat(count, 0)[:, ~mask])
    kinds = {grid.tobytes(): index for index, grid in enumerate(every[alike].astype("int32"))}
    found = np.bincount([kinds[grid.tobytes()] for grid in drawn], minlength=len(chances))
    statistic = ((found - count * chances) ** 2 / (count * chances)).sum()
    assert statistic < 26.1  # 99.9 % of chi-square with 8 degrees of freedom
    raster = np.exp(prior.log_prob(every[alike]))
    assert np.abs(raster / raster.sum() - chances).max() > 0.01  # which is another distribution


@pytest.mark.slow("grid1")
@pytest.mark.xla
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "maps"), (COLOUR, "labels")])
def test_every_method_draws_the_same_integers(grid: Any, condition: str) -> None:
    prior = made(grid, condition)
    given, mask = condition_of(prior, 4), np.random.default_rng(1).random((4, *grid[:2])) < 0.5
    mask[0], mask[1] = True, False
    known = {"observed": values_of(prior, 4, 7), "mask": mask}
    for options in ({}, {"order": "halton"}, {"order": orders_of(prior, 4)}, {**known, "temperature": 0.7}):
        options = {"condition": given, "uniforms": noise(prior, 4), **options}
        drawn = sample(prior, 4, **options)
        for method in ("full", "parallel"):
            assert_same_integers(sample(prior, 4, method=method, **options), drawn)
    np.testing.assert_array_equal(drawn[~mask], known["observed"][~mask])
    many = condition_of(prior, 64), noise(prior, 64)
    assert (sample(prior, 64, *many) != sample(prior, 64, *many, order="halton")).any()


def test_channels_together_where_the_distribution_orders_them() -> None:
    prior = catalogue.prior(AnyOrderTransformer, COLOUR, distribution=DiscretizedLogisticMixture(2, 4))
    order = orders_of(prior, 1)[0]
    drawn = sample(prior, 4, uniforms=noise(prior, 4), order=order)
    assert_same_integers(sample(prior, 4, uniforms=noise(prior, 4), order=order, method="full"), drawn)
    assert np.isfinite(prior.log_prob(drawn, order=order)).all()


def test_training_draws_an_order_for_each_example_and_each_step() -> None:
    prior = catalogue.prior(AnyOrderTransformer, GREY)
    values = values_of(prior, 2).repeat(2, axis=0)
    first, second = (np.asarray(prior(values, training=True)) for _ in range(2))
    assert (first != second).any()
    assert (first[0] != first[1]).any()
    np.testing.assert_array_equal(prior(values), prior(values))
    fixed = catalogue.prior(AnyOrderTransformer, GREY, trained_orders="raster")
    np.testing.assert_array_equal(fixed(values, training=True), fixed(values))


def test_the_halton_order() -> None:
    order = halton(4, 6)
    assert sorted(order.tolist()) == list(range(24))
    # (1/2, 1/3), (1/4, 2/3), (3/4, 1/9), (1/8, 4/9)
    assert order[:4].tolist() == [2 * 6 + 2, 1 * 6 + 4, 3 * 6 + 0, 0 * 6 + 2]


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ("spiral", "Unknown order 'spiral'; expected raster, halton, or an array"),
        (np.zeros(24, int), "The order is no permutation of 0 … 23; expected each position once"),
        (np.arange(23), r"The order is int64 of shape \(23,\); expected integers of shape \(24,\)"),
        (np.arange(24.0), "The order is float64"),
    ],
)
def test_what_is_no_order_is_refused(order: Any, message: str) -> None:
    prior = made(GREY)
    with pytest.raises(ValueError, match=message):
        prior.log_prob(values_of(prior), order=order)
    with pytest.raises(ValueError, match=message):
        sample(prior, 3, order=order)


def test_other_refusals() -> None:
    prior, values = made(GREY), values_of(made(GREY))
    with pytest.raises(ValueError, match="Got order='halton' and orders=3; expected one of them"):
        prior.log_prob(values, order="halton", orders=3)
    with pytest.raises(ValueError, match="orders=0; expected a positive number"):
        prior.log_prob(values, orders=0)
    with pytest.raises(ValueError, match="orders='many'; expected a positive number"):
        prior.log_prob(values, orders="many")
    with pytest.raises(ValueError, match="draws no row before the others; expected a prior in raster order"):
        next(sample_rows(prior, 2))
    in_raster = catalogue.prior(AnyOrderTransformer, GREY, trained_orders="raster")
    for asked in (
        lambda: in_raster.log_prob(values, order="halton"),
        lambda: sample(in_raster, 2, order="halton"),
    ):
        with pytest.raises(ValueError, match="was trained in raster order alone and asked for another one"):
            asked()
    with pytest.raises(ValueError, match="draws in raster order alone and got order='halton'; leave it out"):
        sample(prior_like(GatedPixelCNN), 2, order="halton")
    with pytest.raises(ValueError, match="got num_layers=1; expected 2 or more"):
        catalogue.prior(AnyOrderTransformer, num_layers=1)
    with pytest.raises(ValueError, match="trained_orders='any'; expected 'random' or 'raster'"):
        catalogue.prior(AnyOrderTransformer, trained_orders="any")


@pytest.mark.parametrize("order", ["raster", "halton", 3])
def test_what_is_compressed_along_a_declared_order_comes_back(order: Any) -> None:
    prior = made(COLOUR, "labels")
    values, labels = values_of(prior, 3), condition_of(prior, 3)
    data = compress(prior, values, labels, order=order)
    np.testing.assert_array_equal(decompress(prior, data).images, values)
    along = declared_orders(4, COLOUR)[3] if order == 3 else order
    bits = -prior.log_prob(values, labels, order=along).sum() / math.log(2)
    assert 0 <= 8 * (len(data) - SIZE) - bits < 100


def test_other_orders_are_not_compressed() -> None:
    prior, values = made(GREY), values_of(made(GREY), 2)
    for order in ("spiral", -1, 256, 0.5, np.arange(24)):
        with pytest.raises(ValueError, match="expected 'raster', 'halton', or the number of a decl"):
            compress(prior, values, order=order)
    with pytest.raises(ValueError, match="codes pixels in raster order alone and got order 1; leave it out"):
        compress(prior_like(GatedPixelCNN), values_of(prior_like(GatedPixelCNN)), order="halton")


def test_the_state_holds_the_order_which_no_step_changes() -> None:
    prior = made(GREY)
    orders = orders_of(prior, 2)
    state = prior.initial_state(2, order=orders)
    _, after = prior.step(state, np.zeros((2, 1), "int32"), orders[:, 0])
    np.testing.assert_array_equal(after["order"]["positions"], orders)
    np.testing.assert_array_equal(after["order"]["ranks"], np.argsort(orders, 1))
    np.testing.assert_array_equal(ops.shape(prior.initial_state(2)["order"]["ranks"]), (2, prior.num_steps))


def test_random_orders_are_annealed_to_raster_order() -> None:
    prior = catalogue.prior(AnyOrderTransformer, GREY)
    shares: list[float] = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            in_raster = (np.asarray(prior.order_to_learn(400)) == prior.raster).all(axis=1)
            shares.append(float(in_raster.mean()))

    prior.compile(optimizer="adam", run_eagerly=True)
    prior.fit(values_of(prior, 2), epochs=5, verbose=0, callbacks=[AnnealToRaster(1, 3), Watch()])
    np.testing.assert_allclose(shares, [0, 1 / 3, 2 / 3, 1, 1], atol=0.08)
    assert shares[0] == 0
    assert shares[3:] == [1, 1]
    with pytest.raises(ValueError, match="got start=3 and end=3; expected 0 ≤ start < end"):
        AnnealToRaster(3, 3)
    other = catalogue.prior(GatedPixelCNN, GREY)
    other.compile(optimizer="adam")
    with pytest.raises(ValueError, match="got a GatedPixelCNN; expected an AnyOrderTransformer"):
        other.fit(values_of(other, 2), verbose=0, callbacks=[AnnealToRaster(0, 1)])
