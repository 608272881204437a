"""Priors are trained, evaluated and fed by Keras with no loss of the user's."""

import functools
import math
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import (
    COLOUR,
    CONDITIONS,
    GREY,
    batch_of,
    condition_of,
    each_kind,
    integers,
    prior_like,
    values_of,
)

from tfprior.priors import CausalTransformer, GatedPixelCNN, PixelCNN, Prior

each_condition = pytest.mark.parametrize("condition", CONDITIONS)


def gradients(count: int, grid: tuple[int, int, int] = GREY) -> np.ndarray:
    """Grids that brighten to the right, from a level drawn for each: easy to learn."""
    starts = integers(count, 1, 1, 1)
    return np.broadcast_to((starts + np.arange(grid[1])[:, None]) % 4, (count, *grid)).astype("uint8")


@pytest.mark.slow("[PixelCNN]", "GatedPixelCNN")
@pytest.mark.xla
@each_kind
def test_fit_needs_no_loss_and_lowers_bits_per_dim(kind: Any) -> None:
    prior = catalogue.prior(kind, COLOUR)
    prior.compile(optimizer=keras.optimizers.Adam(0.02))
    images = gradients(32, COLOUR)
    epochs = 8 if kind is CausalTransformer else 4
    history = prior.fit(images, batch_size=8, epochs=epochs, validation_data=images[:5], verbose=0).history
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


@pytest.mark.each_once
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


@pytest.mark.parametrize("looked_up", [{"num_classes": 3}, {"value_embedding_dim": 4}])
def test_rows_of_a_table_that_are_read_often_are_clipped_as_one(looked_up: dict[str, int]) -> None:
    prior = catalogue.prior(GatedPixelCNN, **looked_up)
    before = [weight.numpy() for weight in prior.trainable_weights]
    prior.compile(optimizer=keras.optimizers.SGD(1.0, global_clipnorm=1e-3))
    prior.fit(gradients(8), [1] * 8 if "num_classes" in looked_up else None, batch_size=8, verbose=0)
    moved = [weight.numpy() - old for weight, old in zip(prior.trainable_weights, before, strict=True)]
    assert np.linalg.norm(np.concatenate([each.ravel() for each in moved])) == pytest.approx(1e-3, rel=1e-3)


def test_dropout_acts_in_training_only() -> None:
    prior = catalogue.prior(PixelCNN, GREY, dropout=0.5)
    values = values_of(prior)
    np.testing.assert_array_equal(prior.log_prob(values), prior.log_prob(values))
    assert np.abs(prior(values, training=True) - prior(values)).max() > 1e-3
