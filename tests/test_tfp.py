"""Output distributions as TensorFlow Probability's own."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import DISTRIBUTIONS, Entry
from tensorflow_probability import distributions as tfd

from tfprior.distributions import Categorical, DiscretizedLogisticMixture, Gaussian

each_distribution = pytest.mark.parametrize("entry", DISTRIBUTIONS, ids=str)
# A Gaussian's density leaves out the mass beyond the ends, where its draws go to the last levels.
NORMALIZED = [entry for entry in DISTRIBUTIONS if entry.kind is not Gaussian]


@pytest.mark.each_once
@each_distribution
@pytest.mark.parametrize("batch_shape", [(), (3,), (4, 3), (2, 4, 3)])
def test_shapes_are_those_of_tensorflow_probability(entry: Entry, batch_shape: tuple[int, ...]) -> None:
    params = entry.inputs()[(0,) * (3 - len(batch_shape))]
    theirs = entry.build().to_tfp(params)
    assert isinstance(theirs, tfd.Distribution)
    assert (theirs.batch_shape, theirs.event_shape, theirs.dtype) == (batch_shape, (3,), "int32")
    values = theirs.sample((5, 2), seed=0)
    assert (values.shape, values.dtype) == ((5, 2, *batch_shape, 3), "int32")
    assert theirs.log_prob(values).shape == (5, 2, *batch_shape)
    assert theirs.log_prob([0, 1, 2]).shape == batch_shape
    assert theirs.mode().shape == (*batch_shape, 3)


@each_distribution
def test_numbers_are_those_of_the_distribution(entry: Entry) -> None:
    ours, params = entry.build(), entry.inputs()
    theirs = ours.to_tfp(params)
    values = theirs.sample(seed=0)
    np.testing.assert_allclose(theirs.log_prob(values), ours.log_prob(params, values), rtol=1e-5)
    np.testing.assert_array_equal(theirs.mode(), ours.mode(params))


@pytest.mark.parametrize("entry", NORMALIZED, ids=str)
def test_draws_follow_the_likelihood(entry: Entry) -> None:
    params = entry.inputs()[0, 0]
    theirs = entry.build().to_tfp(params)
    values = theirs.sample(20_000, seed=0)
    entropy = -np.mean(theirs.log_prob(values), axis=0)
    every = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 1, 3)
    nats = theirs.log_prob(every).numpy()
    np.testing.assert_allclose(entropy, -(np.exp(nats) * nats).sum(0), atol=0.03)


@each_distribution
def test_a_seed_repeats_its_draws(entry: Entry) -> None:
    theirs = entry.build().to_tfp(entry.inputs())
    first = theirs.sample(20, seed=(1, 2)).numpy()
    np.testing.assert_array_equal(first, theirs.sample(20, seed=(1, 2)))
    assert (first != theirs.sample(20, seed=(1, 3)).numpy()).any()
    assert (first[1:] != first[:-1]).any()


@each_distribution
def test_function_of_any_batch_size(entry: Entry) -> None:
    distribution, params = entry.build(), entry.inputs()[0, 0]

    def nats(params: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        theirs = distribution.to_tfp(params)
        values = theirs.sample(7, seed=(0, 1))
        return values, theirs.log_prob(values)

    function = tf.function(nats, input_signature=[tf.TensorSpec((None, params.shape[-1]))], autograph=False)
    for found, expected in zip(function(params), nats(tf.constant(params)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_mixture_has_its_mean_and_slices() -> None:
    distribution = DiscretizedLogisticMixture(2, 5)
    params = np.random.default_rng(0).normal(size=(4, 3, 20)).astype("float32")
    theirs = distribution.to_tfp(params)
    np.testing.assert_array_equal(theirs.mean(), distribution.mean(params))
    np.testing.assert_array_equal(theirs[1].mean(), distribution.mean(params[1]))


def test_gradients_reach_the_parameters() -> None:
    params = tf.ones((4, 20))
    with tf.GradientTape() as tape:
        tape.watch(params)
        nats = DiscretizedLogisticMixture(2, 5).to_tfp(params).log_prob([0, 2, 4])
    assert np.abs(tape.gradient(nats, params)).max() > 0


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the bridge be imported anew."""
    monkeypatch.delitem(sys.modules, "tfprior.distributions.tfp", raising=False)
    monkeypatch.delattr("tfprior.distributions.tfp", raising=False)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ImportError, match="Keras runs on jax: set KERAS_BACKEND=tensorflow"):
        Categorical(5).to_tfp(np.zeros((1, 15), "float32"))


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    forget(monkeypatch)
    monkeypatch.setitem(sys.modules, "tensorflow_probability", None)
    with pytest.raises(ImportError, match="to_tfp needs TensorFlow Probability"):
        Categorical(5).to_tfp(np.zeros((1, 15), "float32"))


def test_values_outside_the_levels_are_impossible() -> None:
    theirs = DiscretizedLogisticMixture(2, 4).to_tfp(np.zeros((3, 12), "float32"))
    assert np.isneginf(theirs.log_prob([[9, 0], [-1, 3], [0, 4]])).all()
    assert np.isfinite(theirs.log_prob([[3, 0], [0, 3], [1, 2]])).all()
