"""What every public layer, distribution and prior must do, checked over one catalogue of them."""

import functools
import inspect
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import (
    DISTRIBUTIONS,
    ENTRIES,
    LAYERS,
    PRIORS,
    QUANTIZERS,
    TOKENIZERS,
    Entry,
    condition_of,
    example_model,
    randomise,
    symbols_of,
    values_of,
)
from keras import tree

each_layer = pytest.mark.parametrize("entry", LAYERS, ids=str)
each_distribution = pytest.mark.parametrize("entry", DISTRIBUTIONS, ids=str)
each_prior = pytest.mark.parametrize("entry", PRIORS, ids=str)
each_tokenizer = pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
each_network = pytest.mark.parametrize("entry", [*LAYERS, *PRIORS], ids=str)
each_of_all = pytest.mark.parametrize("entry", [*LAYERS, *QUANTIZERS, *PRIORS, *TOKENIZERS], ids=str)


def public_classes() -> dict[str, type]:
    found = {}
    for package in catalogue.PACKAGES:
        for name in package.__all__:
            value = getattr(package, name)
            if inspect.isclass(value) and not issubclass(value, tuple):
                found[name] = value
    return found


def built(entry: Entry) -> Any:
    network = entry.build()
    network(entry.inputs())
    return randomise(network)


example_of = functools.cache(built)
"""Networks that no test changes."""


def assert_equal(first: Any, second: Any, atol: float = 0.0) -> None:
    for a, b in zip(tree.flatten(first), tree.flatten(second), strict=True):
        np.testing.assert_allclose(np.asarray(a, "float32"), np.asarray(b, "float32"), rtol=0, atol=atol)


def test_every_public_class_is_in_the_catalogue() -> None:
    listed = {entry.kind.__name__ for entry in ENTRIES}
    public = public_classes()
    assert set(public) - listed == catalogue.ABSTRACT
    assert listed <= set(public)


@pytest.mark.parametrize("name", sorted(catalogue.ABSTRACT))
def test_abstract_bases_cannot_be_built(name: str) -> None:
    assert inspect.isabstract(public_classes()[name])


@each_of_all
def test_config_holds_every_argument_of_the_constructor(entry: Entry) -> None:
    names = set(inspect.signature(entry.kind).parameters) - {"kwargs"}
    network = entry.build()
    assert names <= set(network.get_config())
    assert all(hasattr(network, name) for name in names)


@each_of_all
def test_config_round_trip_gives_the_same_outputs(entry: Entry) -> None:
    network, inputs = example_of(entry), entry.inputs()
    copy = entry.kind.from_config(network.get_config())
    assert copy.get_config() == network.get_config()
    copy(inputs)
    copy.set_weights(network.get_weights())
    assert_equal(copy(inputs), network(inputs))


@each_layer
def test_layer_in_a_model_survives_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    model, inputs = example_model(entry)
    model.save(tmp_path / "model.keras")
    assert_equal(keras.saving.load_model(tmp_path / "model.keras")(inputs), model(inputs))


@each_prior
def test_prior_survives_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    prior = example_of(entry)
    values, condition = values_of(prior), condition_of(prior)
    prior.save(tmp_path / "prior.keras")
    loaded = keras.saving.load_model(tmp_path / "prior.keras")
    assert type(loaded) is entry.kind
    assert loaded.get_config() == prior.get_config()
    assert_equal(loaded.log_prob(values, condition), prior.log_prob(values, condition))


@each_prior
def test_compiled_prior_survives_a_keras_file_with_its_optimizer(entry: Entry, tmp_path: Path) -> None:
    prior = randomise(entry.build())
    prior.compile(optimizer="adam", run_eagerly=True)
    prior.fit(entry.inputs(), verbose=0)
    prior.save(tmp_path / "prior.keras")
    loaded = keras.saving.load_model(tmp_path / "prior.keras")
    assert int(loaded.optimizer.iterations) == 1
    assert_equal(
        loaded.log_prob(values_of(prior), condition_of(prior)),
        prior.log_prob(values_of(prior), condition_of(prior)),
    )


@each_prior
def test_weights_of_a_prior_survive_a_weights_file(entry: Entry, tmp_path: Path) -> None:
    prior, other = example_of(entry), entry.build()
    prior.save_weights(tmp_path / "prior.weights.h5")
    other.load_weights(tmp_path / "prior.weights.h5")
    assert_equal(other.get_weights(), prior.get_weights())


@each_network
def test_symbolic_shapes_equal_eager_shapes(entry: Entry) -> None:
    network, inputs = entry.build(), entry.inputs()
    symbolic = [tuple(y.shape) for y in tree.flatten(network(symbols_of(inputs)))]
    eager = [tuple(y.shape) for y in tree.flatten(network(inputs))]
    assert symbolic == [(None, *shape[1:]) for shape in eager]


@each_layer
def test_compute_output_shape_equals_the_eager_shape(entry: Entry) -> None:
    layer, inputs = example_of(entry), entry.inputs()
    shapes = [x.shape for x in inputs] if isinstance(inputs, list) else inputs.shape
    computed = layer.compute_output_shape(shapes)
    computed = computed if isinstance(computed, list) else [computed]
    assert [tuple(shape) for shape in computed] == [tuple(y.shape) for y in tree.flatten(layer(inputs))]


@each_network
def test_gradients_are_finite_and_reach_every_weight(entry: Entry) -> None:
    network = example_of(entry)
    inputs = tree.map_structure(tf.constant, entry.inputs())
    floats = [x for x in tree.flatten(inputs) if x.dtype.is_floating]
    with tf.GradientTape() as tape:
        tape.watch(floats)
        outputs = tree.flatten(network(inputs))
        loss = sum(tf.reduce_sum(tf.square(y)) for y in outputs)
    targets = [*floats, *(weight.value for weight in network.trainable_weights)]
    for gradient in tape.gradient(loss, targets):
        assert gradient is not None
        gradient = np.asarray(tf.convert_to_tensor(gradient))
        assert np.isfinite(gradient).all()
        assert gradient.any()


@each_network
def test_mixed_bfloat16_keeps_weights_in_float32(entry: Entry) -> None:
    network = entry.build(dtype="mixed_bfloat16")
    outputs = tree.flatten(network(entry.inputs()))
    assert all(y.dtype == "bfloat16" for y in outputs)
    assert all(np.isfinite(tf.cast(y, "float32")).all() for y in outputs)
    assert all(weight.dtype == "float32" for weight in network.trainable_weights)


@each_of_all
def test_sublayers_share_the_policy(entry: Entry) -> None:
    network = entry.build(dtype="mixed_bfloat16")
    assert {layer.dtype_policy.name for layer in network._flatten_layers()} == {"mixed_bfloat16"}


@each_prior
def test_the_map_of_a_likelihood_sums_to_it(entry: Entry) -> None:
    prior = example_of(entry)
    values, condition = values_of(prior), condition_of(prior)
    nats = np.asarray(prior.pixel_log_prob(values, condition))
    assert nats.shape == values.shape[:3]
    assert nats.max() < 1e-5  # rounding
    np.testing.assert_allclose(nats.sum((1, 2)), prior.log_prob(values, condition), rtol=1e-5)


@each_tokenizer
def test_the_map_of_a_tokenizer_sums_to_what_images_cost_given_their_codes(entry: Entry) -> None:
    tokenizer, images = example_of(entry), entry.inputs()
    nats = tokenizer.pixel_log_prob(images, batch_size=2)
    assert nats.shape == images.shape[:3]
    expected = tokenizer.distribution.log_prob(tokenizer(images).params, images)
    np.testing.assert_allclose(nats, expected, rtol=1e-4, atol=1e-5)


@each_prior
def test_likelihood_is_float32_under_mixed_bfloat16(entry: Entry) -> None:
    prior, half = example_of(entry), randomise(entry.build(dtype="mixed_bfloat16"))
    values, condition = values_of(prior), condition_of(prior)
    nats = half.log_prob(values, condition)
    assert nats.dtype == "float32"
    np.testing.assert_allclose(nats, prior.log_prob(values, condition), rtol=0.05)


@each_of_all
def test_function_gives_the_eager_numbers(entry: Entry) -> None:
    network, inputs = example_of(entry), tree.map_structure(tf.constant, entry.inputs())
    function = tf.function(lambda x: network(x), autograph=False)
    assert_equal(function(inputs), network(inputs), atol=1e-5)


@each_of_all
def test_a_forward_pass_never_changes_a_weight(entry: Entry) -> None:
    network = built(entry)
    before = network.get_weights()
    network(entry.inputs())
    if "training" in inspect.signature(network.call).parameters:
        network.learns_by_itself = False  # quantizers outside of a tokenizer learn in a forward pass
        network(entry.inputs(), training=True)
    assert_equal(network.get_weights(), before)


# Distributions -------------------------------------------------------------------------------------------


@each_distribution
def test_distribution_survives_its_config_and_serialization(entry: Entry) -> None:
    distribution = entry.build()
    assert distribution.get_config() == entry.arguments
    assert entry.kind.from_config(distribution.get_config()).get_config() == entry.arguments
    loaded = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(distribution))
    assert type(loaded) is entry.kind
    assert loaded.get_config() == entry.arguments


@each_distribution
def test_distribution_has_the_shapes_and_types_of_its_contract(entry: Entry) -> None:
    distribution, params = entry.build(), entry.inputs()  # (2, 4, 3, P)
    assert params.shape[-1] == distribution.num_params(3)
    uniforms = np.random.default_rng(0).random((2, 4, 3, distribution.num_uniforms(3)), "float32")
    values, nats = distribution.sample(params, uniforms)
    assert (values.shape, values.dtype) == ((2, 4, 3, 3), "int32")
    assert (nats.shape, nats.dtype) == ((2, 4, 3), "float32")
    assert 0 <= np.min(values) <= np.max(values) < distribution.num_levels
    log_prob = distribution.log_prob(params, values)
    assert (log_prob.shape, log_prob.dtype) == ((2, 4, 3), "float32")
    assert (distribution.mean(params).shape, distribution.mean(params).dtype) == ((2, 4, 3, 3), "float32")
    assert (distribution.mode(params).shape, distribution.mode(params).dtype) == ((2, 4, 3, 3), "int32")


@each_distribution
def test_distribution_computes_in_float32_whatever_the_parameters(entry: Entry) -> None:
    distribution, params = entry.build(), tf.cast(entry.inputs(), "bfloat16")
    values = distribution.mode(params)
    nats = distribution.log_prob(params, values)
    assert nats.dtype == "float32"
    np.testing.assert_array_equal(nats, distribution.log_prob(tf.cast(params, "float32"), values))


@each_distribution
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_gradients_of_the_likelihood_are_finite_at_both_ends(entry: Entry, scale: float) -> None:
    distribution, params = entry.build(), tf.constant(scale * entry.inputs())
    for value in (0, distribution.num_levels - 1):
        with tf.GradientTape() as tape:
            tape.watch(params)
            nats = distribution.log_prob(params, np.full((2, 4, 3, 3), value, "int32"))
        assert np.isfinite(nats).all()
        assert np.isfinite(tape.gradient(nats, params)).all()


@each_distribution
@pytest.mark.parametrize("jit_compile", [False, True])
def test_distribution_gives_the_eager_numbers_in_a_function(entry: Entry, jit_compile: bool) -> None:
    distribution, params = entry.build(), tf.constant(entry.inputs())
    uniforms = np.random.default_rng(0).random((2, 4, 3, distribution.num_uniforms(3)), "float32")
    function = tf.function(distribution.sample, jit_compile=jit_compile, autograph=False)
    assert_equal(function(params, uniforms), distribution.sample(params, uniforms), atol=1e-5)
