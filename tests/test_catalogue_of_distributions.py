"""What every public distribution of the catalogue computes."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import Entry
from catalogue_examples import assert_equal, each_distribution


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
