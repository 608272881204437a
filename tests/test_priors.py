"""The raster priors: causal both ways, two executions with the same numbers, exact likelihoods.

What PixelCNN++ does its own way, its receptive field and its stages, is in test_pixel_cnn_pp.

Shapes: B batch · H W C grid, H ≠ W · K levels · G channel groups. Weights are random, biases too.
"""

import functools
import itertools
import math
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import COLOUR, CONDITIONS, EVEN_COLOUR, GREY, batch_of, condition_of, integers, values_of
from keras import tree

from tfprior.distributions import Categorical
from tfprior.layers.streaming import empty_state
from tfprior.layers.value_encoding import OUTSIDE
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP, Prior

MASKED_KINDS = [PixelCNN, GatedPixelCNN]
KINDS = [*MASKED_KINDS, PixelCNNPP]
GRIDS = [GREY, COLOUR]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_masked_kind = pytest.mark.parametrize("kind", MASKED_KINDS)
each_grid = pytest.mark.parametrize("grid", GRIDS, ids=["grey", "colour"])
each_condition = pytest.mark.parametrize("condition", CONDITIONS)
each_model = pytest.mark.parametrize(
    ("grid", "condition"),
    [
        *[(GREY, name) for name in ("none", "labels", "maps")],
        *[(COLOUR, name) for name in ("none", "vectors", "maps")],
    ],
)

prior_like = functools.cache(catalogue.prior)
"""Priors that no test changes."""

wide = functools.partial(catalogue.prior, filters=24)
"""Priors with so many features that no value is lost in dead units."""


def fitted(prior: Prior, **options: Any) -> Prior:
    prior.compile(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1), run_eagerly=True)
    prior.fit(batch_of(prior, 6), batch_size=6, verbose=0, **options)
    return prior


# Causality -----------------------------------------------------------------------------------------------


def jacobian(prior: Prior) -> np.ndarray:
    """Which value moves which logit: (H, W, C, K, H, W, C) bool."""
    height, width, channels = prior.grid_shape
    return dependence(prior).reshape(height, width, channels, -1, height, width, channels)


def dependence(prior: Prior) -> np.ndarray:
    """Which value moves which parameter, over a few grids: (H, W, P, H, W, C) bool.

    Values may be floats to the network. One backward pass does: example n of the batch carries parameter n.
    """
    height, width, channels = prior.grid_shape
    size = height * width * prior.distribution.num_params(channels)
    moved = np.zeros((size, height, width, channels), bool)
    for seed in range(4):
        values = tf.repeat(tf.constant(values_of(prior, 1, seed), "float32"), size, axis=0)
        condition = condition_of(prior, 1, seed)
        inputs = values if condition is None else {"values": values, "condition": condition.repeat(size, 0)}
        with tf.GradientTape() as tape:
            tape.watch(values)
            params = prior.call(inputs)  # which is not refused floats
            own = tf.linalg.diag_part(tf.reshape(params, (size, size)))
        moved |= tape.gradient(own, values).numpy() != 0
    return moved.reshape(height, width, -1, height, width, channels)


def permitted(grid: tuple[int, int, int]) -> np.ndarray:
    """What the chain rule lets each channel depend on: (H, W, C, H, W, C) bool."""
    order = np.arange(math.prod(grid)).reshape(grid)
    return order < order[..., None, None, None]


Reach = np.ndarray
"""(H, W, G, H, W, C) bool: which values have reached group g of the features at each pixel."""


def gathered(reach: Reach, rows: range, columns: range) -> Reach:
    """What lies in a window of whole pixels around each pixel, whatever the group: (H, W, H, W, C)."""
    height, width = reach.shape[:2]
    found = np.zeros((height, width, *reach.shape[3:]), bool)
    for y, x, dy, dx in itertools.product(range(height), range(width), rows, columns):
        if 0 <= y + dy < height and 0 <= x + dx < width:
            found[y, x] |= reach[y + dy, x + dx].any(0)
    return found


def own_pixel(reach: Reach, mask_type: str) -> Reach:
    """What the groups before each group hold at its own pixel; for type B its own group too."""
    groups = reach.shape[2]
    last = [group + (mask_type == "B") for group in range(groups)]
    return np.stack([reach[:, :, : last[group]].any(2) for group in range(groups)], 2)


def masked_conv(reach: Reach, size: int, mask_type: str) -> Reach:
    half = size // 2
    above = gathered(reach, range(-half, 0), range(-half, half + 1))
    left = gathered(reach, range(1), range(-half, 0))
    return (above | left)[:, :, None] | own_pixel(reach, mask_type)


def start(grid: tuple[int, int, int]) -> Reach:
    """Every channel's features hold its own value."""
    return np.eye(math.prod(grid), dtype=bool).reshape(*grid, *grid)


def reach_of_pixel_cnn(prior: PixelCNN) -> Reach:
    h = masked_conv(start(prior.grid_shape), prior.first_kernel_size, "A")
    for _ in range(prior.num_layers):
        h = h | own_pixel(masked_conv(own_pixel(h, "B"), prior.kernel_size, "B"), "B")
    return own_pixel(h, "B")


def reach_of_gated_pixel_cnn(prior: GatedPixelCNN) -> Reach:
    v = h = start(prior.grid_shape)
    skips = np.zeros_like(h)
    for index in range(prior.num_layers):
        size, mask_type = (prior.kernel_size, "B") if index else (prior.first_kernel_size, "A")
        half = size // 2
        above = gathered(v, range(-half, 0 if mask_type == "A" else 1), range(-half, half + 1))
        v = above[:, :, None]  # its channels are one group
        left = gathered(h, range(1), range(-half, 0))[:, :, None] | own_pixel(h, mask_type)
        gated = own_pixel(left | v, "B")
        skips = skips | gated
        h = gated if index == 0 else h | gated
    return own_pixel(skips, "B")


REACH = {PixelCNN: reach_of_pixel_cnn, GatedPixelCNN: reach_of_gated_pixel_cnn}


def assert_causal(prior: Prior) -> None:
    moved = jacobian(prior)
    reach = REACH[type(prior)](prior)
    assert not (reach & ~permitted(prior.grid_shape)).any()
    for level in range(moved.shape[3]):
        np.testing.assert_array_equal(moved[:, :, :, level], reach)


@each_masked_kind
@each_model
def test_parameters_depend_on_exactly_the_receptive_field(kind: Any, grid: Any, condition: str) -> None:
    assert_causal(wide(kind, grid, condition))


@each_masked_kind
@each_grid
def test_training_and_saving_keep_causality(kind: Any, grid: Any, tmp_path: Path) -> None:
    prior = fitted(wide(kind, grid, "labels"))
    assert_causal(prior)
    prior.save(tmp_path / "prior.keras")
    assert_causal(keras.saving.load_model(tmp_path / "prior.keras"))


@each_grid
def test_gated_pixel_cnn_has_no_blind_spot(grid: Any) -> None:
    prior = wide(GatedPixelCNN, grid, num_layers=4)
    np.testing.assert_array_equal(jacobian(prior).any(3), permitted(grid))


def test_pixel_cnn_has_its_blind_spot() -> None:
    grid = (6, 7, 1)
    moved = jacobian(wide(PixelCNN, grid, num_layers=5, first_kernel_size=3)).any(3)[..., 0, :, :, 0]
    # What the pixel `o` sees: 3×3 masks climb one column to the right a row, the rest (.) is never reached.
    drawing = [
        "x x x x x x x",
        "x x x x x x .",
        "x x x x x . .",
        "x x x x . . .",
        "x x o . . . .",
        ". . . . . . .",
    ]
    np.testing.assert_array_equal(moved[4, 2], [[mark == "x" for mark in row.split()] for row in drawing])


@each_kind
def test_red_leads_green_leads_blue(kind: Any) -> None:
    moved = jacobian(wide(kind, COLOUR)).all(3)
    for y, x in np.ndindex(COLOUR[:2]):
        order = moved[y, x, :, y, x].astype(int).tolist()  # parameters of R, G, B by values of R, G, B
        assert order == [[0, 0, 0], [1, 0, 0], [1, 1, 0]]


# One step at a time --------------------------------------------------------------------------------------


def teacher_forced(prior: Prior, values: np.ndarray, condition: Any) -> tuple[np.ndarray, list[Any]]:
    """Parameters (B, H, W, P) of `step` at every position, and the states before each of them."""
    height, width, channels = prior.grid_shape
    flat = values.reshape(len(values), -1, channels)
    state = prior.initial_state(len(values), condition)
    previous = np.full_like(flat[:, 0], 3)  # ignored at position 0
    outputs, states = [], []
    for position in range(prior.num_steps):
        states.append(state)
        where = np.full(len(values), position, "int32")
        params, state = prior.step(state, previous, where, flat[:, position])
        outputs.append(np.asarray(params))
        previous = flat[:, position]
    return np.stack(outputs, 1).reshape(len(values), height, width, -1), states


def whole(prior: Prior, values: np.ndarray, condition: Any) -> np.ndarray:
    return np.asarray(prior(values if condition is None else {"values": values, "condition": condition}))


@each_masked_kind
@each_model
def test_steps_equal_the_call_in_two_rollouts(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    for seed in (1, 2):
        values, given = values_of(prior, 2, seed), condition_of(prior, 2, seed)
        params, _ = teacher_forced(prior, values, given)
        np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


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


@each_kind
@pytest.mark.parametrize("grid", [(1, 6, 1), (6, 1, 1), (1, 1, 3)], ids=str)
def test_steps_equal_the_call_on_narrow_grids(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid)
    values = values_of(prior, 2)
    np.testing.assert_allclose(teacher_forced(prior, values, None)[0], whole(prior, values, None), atol=1e-5)


@each_kind
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


@each_masked_kind
@pytest.mark.parametrize(("grid", "condition"), [(GREY, "maps"), (COLOUR, "labels")])
def test_examples_may_stand_at_different_positions(kind: Any, grid: Any, condition: str) -> None:
    prior = prior_like(kind, grid, condition)
    width = grid[1]
    positions = np.array([0, 1, width - 1, width, 2 * width + 1, prior.num_steps - 1], "int32")
    values, given = values_of(prior, len(positions), 5), condition_of(prior, len(positions), 5)
    _, states = teacher_forced(prior, values, given)
    flat = values.reshape(len(values), -1, grid[-1])
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


# Likelihood ----------------------------------------------------------------------------------------------


def every_grid(grid: tuple[int, int, int], levels: int) -> np.ndarray:
    cells = itertools.product(range(levels), repeat=math.prod(grid))
    return np.array(list(cells), "int32").reshape(-1, *grid)


@each_masked_kind
@pytest.mark.parametrize(
    ("grid", "levels", "condition"),
    [((2, 2, 1), 4, "none"), ((1, 2, 3), 3, "labels"), ((2, 1, 3), 2, "maps"), ((3, 2, 1), 3, "vectors")],
)
@pytest.mark.parametrize("value_embedding_dim", [None, 3])
def test_probabilities_of_all_grids_sum_to_one(
    kind: Any, grid: Any, levels: int, condition: str, value_embedding_dim: int | None
) -> None:
    prior = catalogue.prior(
        kind, grid, condition, distribution=Categorical(levels), value_embedding_dim=value_embedding_dim
    )
    grids, given = every_grid(grid, levels), condition_of(prior, 1)
    nats = prior.log_prob(grids, None if given is None else given.repeat(len(grids), 0))
    assert np.exp(np.asarray(nats, "float64")).sum() == pytest.approx(1, abs=1e-5)


@each_kind
@each_grid
def test_log_prob_is_the_sum_over_pixels_and_channels(kind: Any, grid: Any) -> None:
    prior = prior_like(kind, grid, "labels")
    values, labels = values_of(prior), condition_of(prior)
    logits = whole(prior, values, labels).astype("float64").reshape(*values.shape, 4)
    nats = np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, values[..., None], -1)[..., 0]
    np.testing.assert_allclose(prior.pixel_log_prob(values, labels), -nats.sum(3), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(prior.log_prob(values, labels), -nats.sum((1, 2, 3)), rtol=1e-5)
    bits = nats.mean((1, 2, 3)) / np.log(2)
    np.testing.assert_allclose(prior.bits_per_dim(values, labels), bits, rtol=1e-5)


@each_kind
@each_grid
def test_a_uniform_model_takes_eight_bits(kind: Any, grid: Any) -> None:
    prior = catalogue.prior(kind, grid, distribution=Categorical(256))
    prior.head.set_weights([0 * weight for weight in prior.head.get_weights()])
    np.testing.assert_allclose(prior.bits_per_dim(values_of(prior)), 8, rtol=1e-6)


@each_kind
@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint16"])
def test_any_integers_have_the_same_likelihood(kind: Any, dtype: str) -> None:
    prior = prior_like(kind)
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values.astype(dtype)), prior.log_prob(values))


def test_booleans_are_two_levels() -> None:
    prior = catalogue.prior(PixelCNN, GREY, distribution=Categorical(2))
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values.astype(bool)), prior.log_prob(values))


@each_kind
@pytest.mark.parametrize("condition", CONDITIONS[1:])
def test_the_condition_matters(kind: Any, condition: str) -> None:
    prior = prior_like(kind, GREY, condition)
    values, given = values_of(prior), condition_of(prior)
    nats = np.asarray(prior.log_prob(values, given))
    assert (np.abs(nats - prior.log_prob(values, np.roll(given, 1, 0))) > 1e-3).all()


# Training ------------------------------------------------------------------------------------------------


def gradients(count: int, grid: tuple[int, int, int] = GREY) -> np.ndarray:
    """Grids that brighten to the right, from a level drawn for each: easy to learn."""
    starts = integers(count, 1, 1, 1)
    return np.broadcast_to((starts + np.arange(grid[1])[:, None]) % 4, (count, *grid)).astype("uint8")


@pytest.mark.xla
@each_kind
def test_fit_needs_no_loss_and_lowers_bits_per_dim(kind: Any) -> None:
    prior = catalogue.prior(kind, COLOUR)
    prior.compile(optimizer=keras.optimizers.Adam(0.02))
    images = gradients(32, COLOUR)
    history = prior.fit(images, batch_size=8, epochs=4, validation_data=images[:5], verbose=0).history
    assert set(history) == {"loss", "bits_per_dim", "val_loss", "val_bits_per_dim"}
    assert history["bits_per_dim"][-1] < 0.85 * history["bits_per_dim"][0]
    np.testing.assert_allclose(history["loss"], np.multiply(history["bits_per_dim"], np.log(2)), rtol=1e-5)


def test_a_training_step_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, traced = catalogue.prior(GatedPixelCNN), []
    network = prior.call
    monkeypatch.setattr(prior, "call", lambda *inputs, **given: traced.append(1) or network(*inputs, **given))
    prior.compile(optimizer="adam")
    prior.fit(gradients(8), batch_size=4, epochs=2, verbose=0)
    assert len(traced) == 1


def test_training_without_an_optimizer_is_refused() -> None:
    prior = catalogue.prior(GatedPixelCNN)
    prior.compile(optimizer=None)
    with pytest.raises(ValueError, match=r'optimizer=None; fit needs one: compile\(optimizer="adam"\)'):
        prior.fit(gradients(8), verbose=0)


@each_kind
@each_condition
def test_evaluate_is_exact_for_a_ragged_last_batch(kind: Any, condition: str) -> None:
    prior = prior_like(kind, GREY, condition)
    prior.compile(run_eagerly=True)
    values, given = values_of(prior, 7), condition_of(prior, 7)
    result = prior.evaluate(batch_of(prior, 7), batch_size=3, verbose=0, return_dict=True)
    bits = np.mean(prior.bits_per_dim(values, given))
    assert result["bits_per_dim"] == pytest.approx(bits, rel=1e-6)
    assert result["loss"] == pytest.approx(bits * math.log(2), rel=1e-6)


def feeds(batch: dict[str, np.ndarray]) -> dict[str, Any]:
    dataset = tf.data.Dataset.from_tensor_slices(batch)
    return {
        "arrays": batch,
        "tensors": {name: tf.constant(array) for name, array in batch.items()},
        "dataset": dataset.batch(4),
        "dataset of tuples": dataset.map(lambda x: (x,)).batch(4),
        "uint8": {**batch, "values": batch["values"].astype("uint8")},
    }


@pytest.mark.parametrize("feed", ["arrays", "tensors", "dataset", "dataset of tuples", "uint8"])
def test_every_feed_trains_alike(feed: str) -> None:
    prior = catalogue.prior(GatedPixelCNN, GREY, "labels")
    prior.compile(optimizer="sgd", run_eagerly=True)
    batch = {"values": values_of(prior, 7), "condition": condition_of(prior, 7)}
    history = prior.fit(
        feeds(batch)[feed], batch_size=None if "dataset" in feed else 4, shuffle=False, verbose=0
    )
    assert history.history["bits_per_dim"] == pytest.approx([expected_bits()], rel=1e-5)


@functools.cache
def expected_bits() -> float:
    """Bits/dim of two batches of plain gradient descent, written out."""
    prior = catalogue.prior(GatedPixelCNN, GREY, "labels")
    values, labels = values_of(prior, 7), condition_of(prior, 7)
    bits = []
    for part in (slice(0, 4), slice(4, 7)):
        with tf.GradientTape() as tape:
            nats = -prior.distribution.log_prob(whole_tensor(prior, values[part], labels[part]), values[part])
            per_dim = tf.reduce_sum(nats, (1, 2)) / prior.num_dims
            loss = tf.reduce_mean(per_dim)
        weights = prior.trainable_weights
        for weight, gradient in zip(weights, tape.gradient(loss, [w.value for w in weights]), strict=True):
            weight.assign_sub(0.01 * tf.convert_to_tensor(gradient))
        bits.extend(per_dim.numpy() / np.log(2))
    return float(np.mean(bits))


def whole_tensor(prior: Prior, values: np.ndarray, condition: np.ndarray) -> Any:
    return prior({"values": values, "condition": condition}, training=True)


def test_fit_on_a_dataset_is_silent() -> None:
    prior = catalogue.prior(PixelCNN)
    prior.compile(optimizer="sgd", run_eagerly=True)
    prior.fit(tf.data.Dataset.from_tensor_slices(values_of(prior, 4)).batch(2), verbose=0)


def test_sample_weights_weigh_examples() -> None:
    prior = prior_like(PixelCNN)
    prior.compile(run_eagerly=True)
    values, weights = values_of(prior, 4), np.array([1, 0, 3, 0.5], "float32")
    result = prior.evaluate(values, sample_weight=weights, batch_size=2, verbose=0, return_dict=True)
    bits = np.asarray(prior.bits_per_dim(values))
    assert result["bits_per_dim"] == pytest.approx(np.average(bits, weights=weights), rel=1e-5)
    assert result["loss"] == pytest.approx(np.mean(bits * weights) * math.log(2), rel=1e-5)


def test_examples_of_weight_zero_do_not_train() -> None:
    priors = [catalogue.prior(PixelCNN, GREY, condition="labels") for _ in range(2)]
    values, labels = values_of(priors[0], 4), condition_of(priors[0], 4)
    others = np.concatenate([values[:2], (values[2:] + 1) % 4])
    for prior, images in zip(priors, (values, others), strict=True):
        prior.compile(optimizer="sgd", run_eagerly=True)
        weights = np.array([1, 2, 0, 0], "float32")
        prior.fit({"values": images, "condition": labels}, sample_weight=weights, shuffle=False, verbose=0)
    for first, second in zip(priors[0].get_weights(), priors[1].get_weights(), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-7)


def test_dropout_acts_in_training_only() -> None:
    prior = catalogue.prior(PixelCNN, GREY, dropout=0.5)
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values), prior.log_prob(values))
    assert np.abs(prior(values, training=True) - prior(values)).max() > 1e-3


# Bad input -----------------------------------------------------------------------------------------------

GOOD = integers(4, *GREY)
LABELS = np.array([0, 1, 2, 0])
NOT_A_NUMBER = np.full((4, *GREY), np.nan, "float32")


def data_of(values: Any, *others: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((values, *others) if others else values).batch(2)


def labelled(condition: Any = LABELS, values: Any = GOOD) -> dict[str, Any]:
    return {"values": values, "condition": condition}


BAD_BATCHES: list[tuple[str, Any, str]] = [
    ("none", GOOD + 1, r"values lie in \[1, 4\]; expected integers in \[0, 3\]"),
    ("none", GOOD - 1, r"values lie in \[-1, 2\]; expected integers in \[0, 3\]"),
    ("none", GOOD / 3, r"values have dtype float64; expected integers"),
    ("none", tf.constant(GOOD, "float32"), r"values have dtype float32; expected integers"),
    ("none", NOT_A_NUMBER, r"values have dtype float32; expected integers"),
    ("none", GOOD[..., 0], r"values have shape \(4, 4, 6\); expected \(batch, 4, 6, 1\): add a channel axis"),
    ("none", GOOD[0], r"values have shape \(4, 6, 1\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD.repeat(3, -1), r"values have shape \(4, 4, 6, 3\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD.swapaxes(1, 2), r"values have shape \(4, 6, 4, 1\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD[:0], r"empty dataset; expected at least one example"),
    ("none", [GOOD, GOOD], r"expected"),
    ("none", GOOD.tolist(), r"expected"),
    ("none", None, r"expected"),
    ("none", labelled(), r"The prior is unconditional and got a condition"),
    ("none", {"images": GOOD}, r"keys \['images'\]; expected 'values' and 'condition'"),
    ("labels", {**labelled(), "y": GOOD}, r"keys \['condition', 'values', 'y'\]; expected"),
    ("labels", GOOD, r"The prior is conditional and got condition=None; expected integer labels"),
    ("labels", labelled(LABELS + 1), r"Labels lie in \[1, 3\]; expected \[0, 2\]: .*num_classes=3"),
    ("labels", labelled(LABELS - 1), r"Labels lie in \[-1, 1\]; expected \[0, 2\]"),
    ("labels", labelled(LABELS / 2), r"condition has dtype float64; expected integer labels"),
    ("labels", labelled(LABELS[:3]), r"condition has 3 rows for 4 examples"),
    ("labels", labelled(LABELS[:, None]), r"condition has shape \(4, 1\); expected integer labels"),
    ("labels", labelled(np.eye(3)[LABELS]), r"condition has shape \(4, 3\); expected integer labels"),
    ("vectors", labelled(np.zeros((4, 5))), r"condition has shape \(4, 5\); expected floats .*\(batch, 4\)"),
    ("vectors", labelled(np.full((4, 4), np.nan)), r"condition holds NaN or infinity"),
    ("vectors", labelled(LABELS), r"condition has shape \(4,\); expected floats"),
    ("maps", labelled(np.zeros((4, 6, 4, 2))), r"condition has shape \(4, 6, 4, 2\); expected floats"),
    ("maps", labelled(np.full((4, 4, 6, 2), np.inf)), r"condition holds NaN or infinity"),
    ("none", data_of(GOOD / 3), r"values have dtype float64; expected integers"),
    ("none", data_of(GOOD[..., 0]), r"values have shape \(None, 4, 6\); expected"),
    ("none", data_of(GOOD).unbatch(), r"values have shape \(4, 6, 1\); expected"),
    (
        "none",
        data_of(GOOD, LABELS),
        r"dataset of 2-tuples; expected values, or a dict .*map\(lambda images, labels: images\)",
    ),
    ("none", data_of(GOOD).take(0), r"empty dataset; expected at least one example"),
    ("none", data_of(GOOD + 1), r"values lie in \[\d, 4\]; expected integers in \[0, 3\]"),
    ("labels", data_of(GOOD), r"The prior is conditional and got condition=None"),
    ("labels", data_of(labelled(LABELS / 2)), r"condition has dtype float64; expected integer labels"),
    ("labels", data_of(labelled(LABELS + 2)), r"Labels lie in \[2, \d\]; expected \[0, 2\]"),
    ("vectors", data_of(labelled(np.zeros((4, 5)))), r"condition has shape \(None, 5\); expected floats"),
]


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize(("condition", "batch", "message"), BAD_BATCHES)
def test_bad_data_is_refused_before_training(condition: str, batch: Any, message: str, method: str) -> None:
    prior = prior_like(PixelCNN, GREY, condition)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=message) as caught:
        getattr(prior, method)(batch, verbose=0, **({"shuffle": False} if method == "fit" else {}))
    assert str(caught.value).count("\n") == 0
    for weight, kept in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize(
    "batch", [GOOD + 1, (GOOD / 3,), data_of(GOOD / 3)], ids=["range", "tuple", "dataset"]
)
def test_bad_validation_data_is_refused_before_training(batch: Any) -> None:
    prior = prior_like(PixelCNN)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"values (lie in|have dtype).*expected integers"):
        prior.fit(GOOD, validation_data=batch, verbose=0)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


def test_validation_targets_are_refused_before_training() -> None:
    prior = prior_like(PixelCNN)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Got targets y; a prior learns the values themselves"):
        prior.fit(GOOD, validation_data=(GOOD, LABELS), verbose=0)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_targets_are_refused(method: str) -> None:
    prior = prior_like(PixelCNN)
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Got targets y; a prior learns the values themselves"):
        getattr(prior, method)(GOOD, LABELS)


NUMPY_BATCHES = [case for case in BAD_BATCHES if isinstance(case[1], np.ndarray) and case[1].size]


@pytest.mark.parametrize("method", ["log_prob", "pixel_log_prob", "bits_per_dim"])
@pytest.mark.parametrize(("condition", "values", "message"), NUMPY_BATCHES)
def test_bad_values_have_no_likelihood(condition: str, values: Any, message: str, method: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(prior_like(PixelCNN, GREY, condition), method)(values)


LABELLED_BATCHES = [
    case for case in BAD_BATCHES if isinstance(case[1], dict) and set(case[1]) == set(labelled())
]


@pytest.mark.parametrize(("condition", "batch", "message"), LABELLED_BATCHES)
def test_bad_conditions_have_no_likelihood(condition: str, batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_like(PixelCNN, GREY, condition).log_prob(batch["values"], batch["condition"])


@each_kind
@pytest.mark.parametrize("condition", ["labels", "maps"])
def test_a_conditional_prior_never_runs_without_its_condition(kind: Any, condition: str) -> None:
    prior = prior_like(kind, GREY, condition)
    values = values_of(prior, 2)
    for run in (
        lambda: prior(values),
        lambda: prior.predict(values, verbose=0),
        lambda: prior.initial_state(2),
    ):
        with pytest.raises(ValueError, match="is conditional and got condition=None"):
            run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_shape": (5, 6)}, r"grid_shape=\(5, 6\) is not a grid; expected three positive integers"),
        ({"grid_shape": (5, 0, 1)}, r"grid_shape=\(5, 0, 1\) is not a grid"),
        ({"grid_shape": (5.0, 6, 1)}, r"grid_shape=\(5.0, 6, 1\) is not a grid"),
        ({"grid_shape": 28}, r"grid_shape=28 is not a grid"),
        (
            {"distribution": "categorical"},
            r"distribution='categorical'; expected one of tfprior.distributions",
        ),
        ({"num_classes": 3, "condition_shape": (4,)}, r"expected one kind of condition"),
        ({"num_classes": 0}, r"num_classes=0; expected a positive number"),
        (
            {"condition_shape": (6, 4, 2)},
            r"condition_shape=\(6, 4, 2\); expected \(D,\) for vectors or \(4, 6, D\)",
        ),
        ({"condition_shape": (4, 6)}, r"condition_shape=\(4, 6\); expected"),
        ({"condition_shape": 4}, r"condition_shape=4; expected"),
        ({"condition_shape": (0,)}, r"condition_shape=\(0,\); expected"),
        ({"num_layers": -1}, r"num_layers=-1.*; expected"),
        ({"dropout": 1.5}, r"rate.*1.5"),
        ({"filters": 0}, r"filters=0"),
        ({"filters": 10**8}, r"filters=100000000; expected 1,048,576 at most"),
        ({"num_layers": 10**8}, r"num_layers=100000000; expected 1,000 at most"),
        ({"value_embedding_dim": 0}, r"embedding_dim=0; expected"),
        (
            {"class_embedding_dim": 0, "num_classes": 3},
            r"class_embedding_dim=0; expected|must be a positive integer",
        ),
        ({"depth": 3}, r"depth"),
    ],
)
@each_kind
def test_bad_options_are_refused_at_construction(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{**catalogue.arguments(kind), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kernel_size": 4}, r"kernel_size=4; expected an odd number"),
        ({"first_kernel_size": 1}, r"kernel_size=1; expected an odd number"),
        ({"filters": 8, "grid_shape": COLOUR}, r"filters=8 for groups="),
    ],
)
@each_masked_kind
def test_bad_options_of_masks_are_refused_at_construction(kind: Any, changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{**catalogue.arguments(kind), **changes})
