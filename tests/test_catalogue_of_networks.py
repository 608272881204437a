"""What every public layer, quantizer, prior and tokenizer of the catalogue computes, in every execution."""

import inspect
from typing import Any

import numpy as np
import tensorflow as tf
from catalogue import Entry, condition_of, randomise, symbols_of, values_of
from catalogue_examples import (
    assert_equal,
    built,
    each_kind_of_all,
    each_kind_of_prior,
    each_layer,
    each_network,
    each_of_all,
    each_prior,
    each_tokenizer,
    example_of,
)
from keras import tree


def numbers(outputs: Any) -> list[Any]:
    """The tensors that a network computes; masked priors tell besides what they were asked."""
    return [y for y in tree.flatten(outputs) if y.dtype != "bool"]


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
        outputs = numbers(network(inputs))
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
    outputs = numbers(network(entry.inputs()))
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


@each_kind_of_prior
def test_likelihood_is_float32_under_mixed_bfloat16(entry: Entry) -> None:
    prior, half = example_of(entry), randomise(entry.build(dtype="mixed_bfloat16"))
    values, condition = values_of(prior), condition_of(prior)
    nats = half.log_prob(values, condition)
    assert nats.dtype == "float32"
    np.testing.assert_allclose(nats, prior.log_prob(values, condition), rtol=0.05)


@each_kind_of_all
def test_function_gives_the_eager_numbers(entry: Entry) -> None:
    network, inputs = example_of(entry), tree.map_structure(tf.constant, entry.inputs())
    function = tf.function(lambda x: network(x), autograph=False)
    assert_equal(function(inputs), network(inputs), atol=1e-5)


@each_kind_of_all
def test_a_forward_pass_never_changes_a_weight(entry: Entry) -> None:
    network = built(entry)
    before = network.get_weights()
    network(entry.inputs())
    if "training" in inspect.signature(network.call).parameters:
        network.learns_by_itself = False  # quantizers outside of a tokenizer learn in a forward pass
        network(entry.inputs(), training=True)
    assert_equal(network.get_weights(), before)
