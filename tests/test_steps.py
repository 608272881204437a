"""One step at a time and the whole image at once: every prior gives the same parameters.

Shapes: B batch · H W C grid, H ≠ W. Weights are random, biases too.
"""

import functools
import itertools
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import (
    COLOUR,
    EVEN_COLOUR,
    GREY,
    MASKED_KINDS,
    condition_of,
    each_grid,
    each_kind,
    each_masked_kind,
    each_raster_kind,
    prior_like,
    values_of,
)
from keras import tree
from rollouts import teacher_forced, whole
from small_pixelcnn_pp import MODELS, model

from tfprior.layers.streaming import empty_state
from tfprior.layers.value_encoding import OUTSIDE

each_model = pytest.mark.parametrize(
    ("grid", "condition"),
    [
        *[(GREY, name) for name in ("none", "labels", "maps")],
        *[(COLOUR, name) for name in ("none", "vectors", "maps")],
    ],
)


@pytest.mark.each_once
@each_masked_kind
@each_model
def test_steps_equal_the_call_in_two_rollouts(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    for seed in (1, 2):
        values, given = values_of(prior, 2, seed), condition_of(prior, 2, seed)
        params, _ = teacher_forced(prior, values, given)
        np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


@pytest.mark.slow(
    "grey, three stages",
    "one row of pixels",
    "grey, two layers",
    "colour, categorical, vectors",
    "embedded codes",
    "[colour, mixture]",
    "[grey]",
)
@pytest.mark.parametrize("name", MODELS)
def test_steps_of_pixelcnn_pp_equal_the_call_in_two_rollouts(name: str) -> None:
    prior = model(name)
    for seed in (1, 2):
        values, given = values_of(prior, 2, seed), condition_of(prior, 2, seed)
        params, _ = teacher_forced(prior, values, given)
        np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


@pytest.mark.each_once
@each_masked_kind
@pytest.mark.parametrize(
    "changes",
    [{"value_embedding_dim": 3}, {"kernel_size": 5, "first_kernel_size": 3}, {"grid_shape": (2, 9, 2)}],
    ids=str,
)
def test_steps_equal_the_call_with_other_options(kind: Any, changes: Any) -> None:
    prior = catalogue.prior(kind, **{"grid_shape": COLOUR, **changes})
    values = values_of(prior, 2)
    np.testing.assert_allclose(teacher_forced(prior, values, None)[0], whole(prior, values, None), atol=1e-5)


@pytest.mark.each_once
@each_kind
@pytest.mark.parametrize("grid", [(1, 6, 1), (6, 1, 1), (1, 1, 3)], ids=str)
def test_steps_equal_the_call_on_narrow_grids(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid)
    values = values_of(prior, 2)
    np.testing.assert_allclose(teacher_forced(prior, values, None)[0], whole(prior, values, None), atol=1e-5)


@pytest.mark.each_once
@each_raster_kind
@pytest.mark.parametrize(
    ("grid", "condition"), [(GREY, "maps"), (EVEN_COLOUR, "labels"), ((6, 1, 1), "none")]
)
def test_rows_at_once_equal_the_call(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    values, given = values_of(prior, 2), condition_of(prior, 2)
    expected = whole(prior, values, given)
    states, above = empty_state(prior.row_spec(), 2), np.full_like(values[:, 0], OUTSIDE)
    for y in range(grid[0]):
        ys = np.full(2, y, "int32")
        states, features = prior.row(states, above, prior.encode_condition(given), ys)
        above = values[:, y]
        np.testing.assert_allclose(prior.row_params(states, features, above, ys), expected[:, y], atol=1e-5)


OF_EVERY_KIND = {
    **{
        f"{kind.__name__}, {condition}": functools.partial(prior_like, kind, grid, condition)
        for kind, (grid, condition) in itertools.product(MASKED_KINDS, [(GREY, "maps"), (COLOUR, "labels")])
    },
    **{
        f"PixelCNNPP, {name}": functools.partial(model, name)
        for name in ("grey, three stages, labels", "colour, categorical, vectors")
    },
}


@pytest.mark.slow("three stages")
@pytest.mark.parametrize("name", OF_EVERY_KIND)
def test_examples_may_stand_at_different_positions(name: str) -> None:
    prior = OF_EVERY_KIND[name]()
    width = prior.grid_shape[1]
    positions = [0, 1, width - 1, width, min(2 * width + 1, prior.num_steps - 2), prior.num_steps - 1]
    positions = np.array(positions, "int32")
    values, given = values_of(prior, len(positions), 5), condition_of(prior, len(positions), 5)
    _, states = teacher_forced(prior, values, given)
    flat = values.reshape(len(values), prior.num_steps, -1)
    picked = [
        tree.map_structure(lambda tensor, index=index: np.asarray(tensor)[[index]], states[position])
        for index, position in enumerate(positions)
    ]
    mixed = tree.map_structure(lambda *parts: np.concatenate(parts), *picked)
    rows = np.arange(len(positions))
    previous, current = flat[rows, np.maximum(positions - 1, 0)], flat[rows, positions]
    together, after = prior.step(mixed, previous, positions, current)
    np.testing.assert_allclose(
        together,
        whole(prior, values, given).reshape(len(values), prior.num_steps, -1)[rows, positions],
        atol=1e-5,
    )
    for index in rows:
        one = slice(index, index + 1)
        alone, state = prior.step(picked[index], previous[one], positions[one], current[one])
        np.testing.assert_allclose(together[one], alone, atol=1e-6)
        for mine, tensor in zip(tree.flatten(after), tree.flatten(state), strict=True):
            np.testing.assert_allclose(mine[one], tensor, atol=1e-6)


@each_kind
def test_parameters_of_a_channel_ignore_the_channels_to_come(kind: Any) -> None:
    prior = prior_like(kind, COLOUR)
    values = values_of(prior, 2)
    position = np.full(2, 0, "int32")
    state = prior.initial_state(2)
    known, _ = prior.step(state, values[:, 0, 0], position, values[:, 0, 0])
    for channel in range(3):
        current = np.where(np.arange(3) < channel, values[:, 0, 0], -1)
        params, _ = prior.step(state, values[:, 0, 0], position, current)
        own = slice(4 * channel, 4 * channel + 4)
        np.testing.assert_allclose(params[:, own], known[:, own], atol=1e-6)
    nothing, _ = prior.step(state, values[:, 0, 0], position)
    np.testing.assert_allclose(nothing[:, :4], known[:, :4], atol=1e-6)


@each_kind
def test_the_state_is_as_specified_and_keeps_names_shapes_and_types(kind: Any) -> None:
    prior = prior_like(kind, COLOUR, "vectors")
    state = prior.initial_state(2, condition_of(prior, 2))
    _, after = prior.step(state, values_of(prior, 2)[:, 0, 0], np.zeros(2, "int32"))
    specified = tree.map_structure(lambda spec: ((2, *spec.shape), spec.dtype), prior.state_spec())
    for tensors in (state, after):
        of_tensors = tree.map_structure(lambda t: (tuple(t.shape), t.dtype.name), tensors)
        assert {name: part for name, part in of_tensors.items() if name != "condition"} == specified
    np.testing.assert_array_equal(after["condition"], state["condition"])


@pytest.mark.each_once
@each_kind
@each_grid
def test_likelihoods_sampling_and_steps_never_change_a_weight(kind: Any, grid: Any) -> None:
    prior = prior_like(kind, grid)
    before = prior.get_weights()
    prior.log_prob(values_of(prior))
    prior(values_of(prior), training=True)
    teacher_forced(prior, values_of(prior), None)
    for weight, kept in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)
