"""PixelCNN++: causal both ways through its stages, two executions, first weights from data.

Shapes: B batch · H W C grid, H ≠ W. Weights are random, biases too.
"""

import functools
import inspect
import itertools
import math
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import EVEN_COLOUR, GREY, batch_of, condition_of, values_of
from keras import tree
from test_priors import dependence, every_grid, jacobian, permitted, teacher_forced, whole
from test_sampling import chi_square, noise

from tfprior import compilation
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.layers.weight_norm import WeightNormalized
from tfprior.priors import PixelCNNPP
from tfprior.sampling import cached, full, parallel_rows, sample, stepwise

DEEP = (4, 8, 1)
MIXTURE = DiscretizedLogisticMixture(2, 4)

small = functools.partial(catalogue.prior, PixelCNNPP)
prior_like = functools.cache(small)


def fresh(*shape: Any, **changes: Any) -> PixelCNNPP:
    """A small prior as it is built."""
    return PixelCNNPP(**catalogue.arguments(PixelCNNPP, *shape, **changes))


"""Priors that no test changes."""

MODELS = {
    "grey": {"grid_shape": GREY},
    "grey, one stage": {"grid_shape": (3, 5, 1), "num_stages": 1},
    "grey, three stages, labels": {"grid_shape": DEEP, "num_stages": 3, "condition": "labels"},
    "grey, two layers, maps": {"grid_shape": GREY, "num_layers": 2, "condition": "maps"},
    "colour, mixture": {"grid_shape": EVEN_COLOUR, "distribution": MIXTURE},
    "colour, categorical, vectors": {"grid_shape": EVEN_COLOUR, "condition": "vectors"},
    "colour, three stages, mixture, maps": {
        "grid_shape": (8, 4, 3),
        "num_stages": 3,
        "distribution": MIXTURE,
        "condition": "maps",
    },
    "colour, embedded codes": {"grid_shape": EVEN_COLOUR, "value_embedding_dim": 3},
    "one row of pixels at the lowest stage": {"grid_shape": (4, 4, 1), "num_stages": 3},
}
each_model = pytest.mark.parametrize("name", MODELS)


def model(name: str) -> PixelCNNPP:
    given = dict(MODELS[name])
    grid, condition = given.pop("grid_shape"), given.pop("condition", "none")
    return prior_like(grid, condition, **given)


# Causality -----------------------------------------------------------------------------------------------

Reach = np.ndarray
"""(H', W', H, W) bool: which pixels have reached each position of a stage."""


def window(reach: Reach, rows: range, columns: range, strides: int = 1) -> Reach:
    """What lies in a window around each position, or each second one."""
    height, width = reach.shape[:2]
    found = np.zeros((height // strides, width // strides, *reach.shape[2:]), bool)
    for y, x, dy, dx in itertools.product(*map(range, found.shape[:2]), rows, columns):
        row, column = strides * y + dy, strides * x + dx
        if 0 <= row < height and 0 <= column < width:
            found[y, x] |= reach[row, column]
    return found


def repeated(reach: Reach, reaches_left: bool) -> Reach:
    """Every position as four; with `reaches_left` the odd columns also hold the next position."""
    found = reach.repeat(2, 0).repeat(2, 1)
    if reaches_left:
        found[:, 1:-1:2] |= reach.repeat(2, 0)[:, 1:]
    return found


def reach_of_stream(
    x: Reach, prior: PixelCNNPP, stage: int, columns: range, joining: list[Reach]
) -> tuple[Reach, list[Reach]]:
    """A stage and those below; `joining` is what comes from the down stream, block by block."""
    visited: list[Reach] = []

    def block(x: Reach, shortcut: Reach | None = None) -> Reach:
        h = window(x, range(-1, 1), columns)
        if shortcut is not None:
            h = h | shortcut
        if joining:
            h = h | joining.pop(0)
        x = x | window(h, range(-1, 1), columns)
        visited.append(x)
        return x

    shortcuts = [x]
    for _ in range(prior.num_layers):
        x = block(x)
        shortcuts.append(x)
    if stage + 1 < prior.num_stages:
        inside, inner = reach_of_stream(
            window(x, range(-1, 1), columns, strides=2), prior, stage + 1, columns, joining
        )
        visited.extend(inner)
        x = repeated(inside, reaches_left=columns.stop == 2)
    else:
        x = shortcuts.pop()
    while shortcuts:
        x = block(x, shortcuts.pop())
    return x, visited


def reach_of(prior: PixelCNNPP) -> Reach:
    height, width = prior.grid_shape[:2]
    pixels = np.eye(height * width, dtype=bool).reshape(height, width, height, width)
    sideways = range(-1, 2)
    _, down = reach_of_stream(window(pixels, range(-2, 0), sideways), prior, 0, sideways, [])
    right = window(pixels, range(-1, 0), sideways) | window(pixels, range(-1, 1), range(-1, 0))
    return reach_of_stream(right, prior, 0, range(-1, 1), down)[0]


def assert_causal(prior: PixelCNNPP) -> None:
    channels = prior.grid_shape[-1]
    reach = reach_of(prior)
    moved = jacobian_by_pixel(prior)
    order = permitted((*prior.grid_shape[:2], 1))[:, :, 0, :, :, 0]
    assert not (reach & ~order).any()
    for channel, other in np.ndindex(channels, channels):
        expected = reach
        if prior.channel_groups > 1 and other < channel:
            expected = reach | np.eye(prior.num_steps, dtype=bool).reshape(reach.shape)
        np.testing.assert_array_equal(moved[:, :, channel, :, :, other], expected)


def jacobian_by_pixel(prior: PixelCNNPP) -> np.ndarray:
    """Which channel's value moves any parameter of which channel: (H, W, C, H, W, C) bool."""
    if prior.channel_groups > 1:
        return jacobian(prior).any(3)
    return np.stack([dependence(prior).any(2)] * prior.grid_shape[-1], 2)


CAUSAL = ["grey", "grey, three stages, labels", "grey, two layers, maps", "colour, mixture"]


@pytest.mark.parametrize("name", [*CAUSAL, "colour, categorical, vectors"])
def test_parameters_depend_on_exactly_the_receptive_field(name: str) -> None:
    assert_causal(model(name))


@pytest.mark.parametrize("distribution", [Categorical(4), MIXTURE], ids=["categorical", "mixture"])
def test_training_and_saving_keep_causality(distribution: Any, tmp_path: Path) -> None:
    prior = small(EVEN_COLOUR, distribution=distribution)
    prior.compile(optimizer=keras.optimizers.AdamW(0.01, weight_decay=0.1), run_eagerly=True)
    prior.fit(batch_of(prior, 6), batch_size=6, verbose=0)
    assert_causal(prior)
    prior.save(tmp_path / "prior.keras")
    assert_causal(keras.saving.load_model(tmp_path / "prior.keras"))


# Two executions ------------------------------------------------------------------------------------------


@each_model
def test_steps_equal_the_call_in_two_rollouts(name: str) -> None:
    prior = model(name)
    for seed in (1, 2):
        values, given = values_of(prior, 2, seed), condition_of(prior, 2, seed)
        params, _ = teacher_forced(prior, values, given)
        np.testing.assert_allclose(params, whole(prior, values, given), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["grey, three stages, labels", "colour, categorical, vectors"])
def test_examples_may_stand_at_different_positions(name: str) -> None:
    prior = model(name)
    width = prior.grid_shape[1]
    positions = np.array([0, 1, width - 1, width, 2 * width - 1, prior.num_steps - 1], "int32")
    values, given = values_of(prior, len(positions), 5), condition_of(prior, len(positions), 5)
    expected, states = teacher_forced(prior, values, given)
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
        together, expected.reshape(len(values), prior.num_steps, -1)[rows, positions], atol=1e-5
    )
    for index in rows:
        one = slice(index, index + 1)
        _, state = prior.step(picked[index], previous[one], positions[one], current[one])
        for mine, tensor in zip(tree.flatten(after), tree.flatten(state), strict=True):
            np.testing.assert_allclose(mine[one], tensor, atol=1e-6)


SAMPLED = ["grey, three stages, labels", "colour, categorical, vectors"]


@pytest.mark.parametrize("name", SAMPLED)
def test_every_loop_draws_the_same_integers(name: str) -> None:
    prior = model(name)
    uniforms, given = noise(prior, 5), condition_of(prior, 5)
    expected = sample(prior, 5, given, uniforms, method="full")
    assert len(np.unique(expected)) > 2
    for loop in (cached, stepwise, full, parallel_rows):
        drawn = compilation.compiled(loop, prior)(uniforms, given)
        np.testing.assert_array_equal(drawn.values, expected)
        np.testing.assert_allclose(drawn.log_prob, prior.log_prob(expected, given), rtol=1e-5)
    mask = np.random.default_rng(3).random((5, *prior.grid_shape[:2])) < 0.5
    known = {"observed": values_of(prior, 5, seed=4), "mask": mask}
    for temperature in (1.0, 0.5):
        completed = [
            sample(prior, 5, given, uniforms, temperature=temperature, method=method, **known)
            for method in ("cached", "full")
        ]
        np.testing.assert_array_equal(*completed)
        np.testing.assert_array_equal(completed[0][~mask], known["observed"][~mask])


@pytest.mark.parametrize(
    ("grid", "condition", "distribution", "num_stages"),
    [
        ((2, 2, 1), "none", Categorical(4), 2),
        ((2, 2, 1), "maps", MIXTURE, 2),
        ((2, 2, 3), "labels", Categorical(2), 2),
        ((2, 2, 3), "vectors", DiscretizedLogisticMixture(2, 2), 2),
        ((3, 2, 1), "none", Categorical(3), 1),
    ],
    ids=str,
)
def test_probabilities_of_all_grids_sum_to_one(
    grid: Any, condition: str, distribution: Any, num_stages: int
) -> None:
    prior = small(grid, condition, distribution=distribution, num_stages=num_stages)
    grids, given = every_grid(grid, distribution.num_levels), condition_of(prior, 1)
    nats = prior.log_prob(grids, None if given is None else given.repeat(len(grids), 0))
    assert np.exp(np.asarray(nats, "float64")).sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("grid", "distribution"),
    [
        ((2, 2, 1), Categorical(4)),
        ((2, 2, 1), MIXTURE),
        ((2, 2, 3), DiscretizedLogisticMixture(2, 2)),
    ],
    ids=["categorical", "mixture", "colour, mixture"],
)
def test_samples_follow_the_enumerated_probabilities(grid: Any, distribution: Any) -> None:
    prior = small(grid, distribution=distribution)
    levels, size = distribution.num_levels, math.prod(grid)
    probabilities = np.exp(np.asarray(prior.log_prob(every_grid(grid, levels)), "float64"))
    values = sample(prior, 50_000, seed=0).reshape(-1, size)
    counts = np.bincount(values @ levels ** np.arange(size)[::-1], minlength=levels**size)
    assert -5 < chi_square(counts, 50_000 * probabilities) < 5


# Weight normalization ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["grey, three stages, labels", "colour, categorical, vectors"])
def test_plain_kernels_compute_the_same(name: str) -> None:
    prior = model(name)
    plain = prior.without_weight_norm()
    assert not any("scale" in weight.name for weight in plain.weights)
    values, given = values_of(prior), condition_of(prior)
    np.testing.assert_allclose(whole(plain, values, given), whole(prior, values, given), atol=1e-5)
    assert plain.for_sampling() is plain


@pytest.mark.xla
def test_sampling_uses_the_weights_of_the_moment() -> None:
    prior = small(GREY)
    uniforms = noise(prior, 4)
    first = sample(prior, 4, uniforms=uniforms)
    catalogue.randomise(prior, seed=9)
    second = sample(prior, 4, uniforms=uniforms)
    assert (first != second).any()
    np.testing.assert_array_equal(second, sample(prior, 4, uniforms=uniforms, method="full"))


def test_sampling_runs_on_plain_kernels() -> None:
    prior = small(GREY)
    plain = prior.for_sampling()
    normalized = [layer for layer in plain._flatten_layers() if isinstance(layer, WeightNormalized)]
    assert normalized
    assert not any(layer.weight_norm for layer in normalized)
    sample(prior, 2, seed=0)
    assert plain is prior.for_sampling()
    assert plain in compilation._COMPILED
    assert prior not in compilation._COMPILED


@pytest.mark.parametrize("name", ["grey, three stages, labels", "colour, mixture"])
@pytest.mark.parametrize("weight_norm", [True, False], ids=["weight norm", "plain"])
def test_initialization_normalizes_every_layer(name: str, weight_norm: bool) -> None:
    grid, condition, *_ = MODELS[name]["grid_shape"], MODELS[name].get("condition", "none")
    options = {key: MODELS[name][key] for key in ("num_stages", "distribution") if key in MODELS[name]}
    prior = small(grid, condition, weight_norm=weight_norm, **options)
    batch = batch_of(prior, 16)
    prior.initialize(batch)
    seen = []

    def record(layer: Any, x: Any) -> Any:
        y = layer(x)
        seen.append(layer)
        outputs = np.asarray(y, "float64").reshape(-1, y.shape[-1])
        np.testing.assert_allclose(outputs.mean(0), 0, atol=1e-4)
        deviation = outputs.std(0)
        varies = deviation > 1e-4
        np.testing.assert_allclose(deviation[varies], layer.init_scale, rtol=1e-2)
        assert varies.mean() > 0.5
        return y

    prior.network(batch, record)
    normalized = [layer for layer in prior._flatten_layers() if isinstance(layer, WeightNormalized)]
    assert {id(layer) for layer in seen} == {id(layer) for layer in normalized}
    assert len(seen) == len(normalized)


def feeds(prior: PixelCNNPP) -> dict[str, Any]:
    values = values_of(prior, 12)
    return {
        "array": values,
        "tensor": tf.constant(values),
        "dataset": tf.data.Dataset.from_tensor_slices(values).batch(4),
        "dataset of tuples": tf.data.Dataset.from_tensor_slices((values,)).batch(4),
    }


@pytest.mark.parametrize("feed", ["array", "tensor", "dataset", "dataset of tuples"])
def test_fit_initializes_once_on_its_first_batch(feed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, batches = fresh(GREY), []
    initialize = PixelCNNPP.initialize
    monkeypatch.setattr(
        PixelCNNPP, "initialize", lambda self, batch: batches.append(batch) or initialize(self, batch)
    )
    prior.compile(optimizer="adam", run_eagerly=True)
    data = feeds(prior)[feed]
    for _ in range(2):
        prior.fit(data, verbose=0, **({} if "dataset" in feed else {"batch_size": 4}))
    assert len(batches) == 1
    assert tuple(batches[0].shape) == (4, *GREY)
    assert not prior.needs_initialization


class FirstBatch(Exception):
    """Carries what `initialize` was given, and ends `fit` before any training."""


@pytest.mark.parametrize("as_dataset", [False, True], ids=["arrays", "dataset"])
@pytest.mark.parametrize("condition", ["none", "labels", "maps"])
def test_the_first_batch_is_spread_over_arrays_and_a_dataset_s_own(
    condition: str, as_dataset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: PixelCNNPP, batch: Any) -> None:
        raise FirstBatch(batch)

    monkeypatch.setattr(PixelCNNPP, "initialize", stop)
    prior = fresh(GREY, condition)
    prior.compile(optimizer="adam")
    batch = batch_of(prior, 12)
    data = tf.data.Dataset.from_tensor_slices(batch).batch(4) if as_dataset else batch
    with pytest.raises(FirstBatch) as caught:
        prior.fit(data, **({} if as_dataset else {"batch_size": 4}))
    chosen = [0, 1, 2, 3] if as_dataset else [0, 3, 6, 9]
    expected = keras.tree.map_structure(lambda part: part[chosen], batch)
    keras.tree.map_structure(np.testing.assert_array_equal, caught.value.args[0], expected)


def test_training_starts_from_the_initialized_weights() -> None:
    prior, other = fresh(GREY, "labels"), fresh(GREY, "labels")
    other.set_weights(prior.get_weights())
    batch = batch_of(prior, 6)
    other.initialize(batch)
    prior.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    prior.fit(batch, batch_size=6, shuffle=False, verbose=0)
    for ours, theirs in zip(prior.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("file", ["prior.keras", "prior.weights.h5"])
def test_loaded_weights_are_not_initialized_anew(file: str, tmp_path: Path) -> None:
    prior = small(GREY, "labels")
    prior.initialize(batch_of(prior, 8))
    if file.endswith(".keras"):
        prior.save(tmp_path / file)
        other = keras.saving.load_model(tmp_path / file)
    else:
        prior.save_weights(tmp_path / file)
        other = small(GREY, "labels", seed=5)
        other.load_weights(tmp_path / file)
    assert_fit_keeps_weights(other)
    for ours, theirs in zip(prior.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def assert_fit_keeps_weights(prior: PixelCNNPP) -> None:
    """At a learning rate of zero, on data that would initialize otherwise."""
    before = prior.get_weights()
    prior.compile(optimizer=keras.optimizers.SGD(0.0), run_eagerly=True)
    batch = batch_of(prior, 5)
    batch["values"] = np.maximum(batch["values"], 2)
    prior.fit(batch, verbose=0)
    for ours, theirs in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("how", ["train_on_batch", "own loop", "set_weights"])
def test_trained_weights_are_not_initialized_anew(how: str) -> None:
    prior = fresh(GREY, "labels")
    batch = batch_of(prior, 8)
    assert prior.needs_initialization
    if how == "train_on_batch":
        prior.compile(optimizer="adam", run_eagerly=True)
        prior.train_on_batch(batch)
    elif how == "own loop":
        with tf.GradientTape() as tape:
            loss = prior.compute_loss(batch, y_pred=prior(batch))
        variables = [weight.value for weight in prior.trainable_weights]
        keras.optimizers.SGD(0.1).apply(tape.gradient(loss, variables), prior.trainable_weights)
    else:
        prior.set_weights(small(GREY, "labels").get_weights())
    assert not prior.needs_initialization
    assert_fit_keeps_weights(prior)


def test_a_missing_condition_of_a_dict_is_no_condition() -> None:
    prior = fresh(GREY)
    prior.compile(optimizer="adam", run_eagerly=True)
    prior.fit({"values": values_of(prior, 8), "condition": None}, verbose=0)
    assert not prior.needs_initialization


def test_fit_before_compile_leaves_the_weights() -> None:
    prior = fresh(GREY)
    with pytest.raises(ValueError, match="compile"):
        prior.fit(values_of(prior, 8))
    assert prior.needs_initialization


def test_initialization_checks_its_batch() -> None:
    prior = fresh(GREY, "labels")
    with pytest.raises(ValueError, match="condition=None"):
        prior.initialize(values_of(prior))
    with pytest.raises(ValueError, match="expected integers"):
        prior.initialize({"values": np.full((2, *GREY), 9), "condition": np.zeros(2, "int32")})
    with pytest.raises(ValueError, match="Got an empty batch"):
        prior.initialize(keras.tree.map_structure(lambda part: part[:0], batch_of(prior, 2)))
    with pytest.raises(ValueError, match=r"Dataset as a batch; .* pass next\(iter\(dataset\)\)"):
        prior.initialize(tf.data.Dataset.from_tensor_slices(batch_of(prior, 2)).batch(2))
    assert prior.needs_initialization


def test_a_generator_cannot_give_a_first_batch_twice() -> None:
    prior = fresh(GREY)
    prior.compile(optimizer="adam")
    with pytest.raises(ValueError, match=r"call initialize\(batch\) before fit"):
        prior.fit(iter([values_of(prior)]))


def test_mixed_bfloat16_initializes_trains_and_streams() -> None:
    prior = small(DEEP, "labels", num_stages=3, distribution=MIXTURE, dtype="mixed_bfloat16")
    batch = batch_of(prior, 8)
    prior.initialize(batch)
    prior.compile(optimizer="adam", run_eagerly=True)
    history = prior.fit(batch, verbose=0).history
    assert np.isfinite(history["bits_per_dim"]).all()
    assert all(weight.dtype == "float32" for weight in prior.trainable_weights)
    assert all(np.isfinite(weight).all() for weight in prior.get_weights())
    values, given = values_of(prior, 2), condition_of(prior, 2)
    expected = np.asarray(whole(prior, values, given), "float32")
    steps, _ = teacher_forced(prior, values, given)
    np.testing.assert_allclose(np.asarray(steps, "float32"), expected, atol=0.1)


# The paper's size ----------------------------------------------------------------------------------------


def num_weights(filters: int, num_layers: int, num_stages: int, channels: int, outputs: int) -> int:
    """Of every layer in the paper's figure: kernel, scale and bias; both inputs of a 1×1 have their own."""

    def layer(inputs: int, outputs: int) -> int:
        return inputs * outputs + 2 * outputs

    f, encoded = filters, 2 * channels  # a value, and a one
    first = layer(6 * encoded, f) + layer(3 * encoded, f) + layer(2 * encoded, f)
    encoder = num_stages * num_layers
    decoder = encoder + num_stages - 1
    links = encoder + 3 * decoder  # the down stream's features go into every block, short-cuts up only
    blocks = sum(layer(taps * 2 * f, f) + layer(taps * 2 * f, 2 * f) for taps in (6, 4))
    strided = 2 * (num_stages - 1) * (layer(6 * f, f) + layer(4 * f, f))
    return first + (encoder + decoder) * blocks + links * layer(2 * f, f) + strided + layer(f, outputs)


@pytest.mark.parametrize(("num_layers", "num_stages"), [(1, 1), (2, 2), (1, 3)])
def test_the_weights_are_those_of_the_figure(num_layers: int, num_stages: int) -> None:
    prior = small((4, 8, 3), num_layers=num_layers, num_stages=num_stages, distribution=MIXTURE)
    counted = sum(math.prod(weight.shape) for weight in prior.trainable_weights)
    assert counted == num_weights(6, num_layers, num_stages, 3, MIXTURE.num_params(3))


def test_the_defaults_are_the_paper_s() -> None:
    given = {name: each.default for name, each in inspect.signature(PixelCNNPP).parameters.items()}
    sizes = [given[name] for name in ("filters", "num_layers", "num_stages")]
    assert (sizes, given["dropout"]) == ([160, 5, 3], 0.5)
    outputs = DiscretizedLogisticMixture().num_params(3)
    ours = num_weights(*sizes, 3, outputs)
    # The reference has a single one beside the three channels, and one 1×1 layer for both inputs.
    reference = ours - 2 * (6 + 3 + 2) * 160 - 17 * 2 * 160
    assert (outputs, ours, reference) == (100, 53_668_040, 53_659_080)


def test_dropout_acts_in_training_only() -> None:
    prior = small(GREY, dropout=0.5)
    values = values_of(prior)
    np.testing.assert_array_equal(prior(values), prior(values))
    assert not np.allclose(prior(values, training=True), prior(values))


def test_training_lowers_bits_per_dim() -> None:
    prior = PixelCNNPP((4, 4, 1), DiscretizedLogisticMixture(2, 16), filters=8, num_layers=1, num_stages=2)
    values = np.tile(np.arange(16, dtype="int32").reshape(1, 4, 4, 1), (32, 1, 1, 1))
    values = (values + np.random.default_rng(0).integers(0, 3, (32, 1, 1, 1))) % 16
    prior.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    history = prior.fit(values, epochs=15, batch_size=16, verbose=0).history["bits_per_dim"]
    assert history[-1] < history[0] - 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid_shape": (6, 8, 1), "num_stages": 3}, "divisible by 4: crop or pad the images, or use fewer"),
        ({"grid_shape": (4, 7, 1), "num_stages": 2}, "divisible by 2"),
        ({"num_layers": 0}, "num_layers=0"),
        ({"num_stages": 0}, "num_stages=0"),
        ({"filters": 0}, "filters=0"),
    ],
)
def test_bad_options_are_refused_at_construction(changes: Any, message: str) -> None:
    given = {"grid_shape": GREY, "distribution": Categorical(4), "filters": 4, "num_layers": 1}
    with pytest.raises(ValueError, match=message):
        PixelCNNPP(**{**given, **changes})


def test_the_mixture_is_not_truncated() -> None:
    with pytest.raises(ValueError, match="use temperature"):
        sample(model("colour, mixture"), 2, top_k=2)
