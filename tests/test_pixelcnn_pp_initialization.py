"""The first weights of PixelCNN++ come from data, once, and weights that are known are kept."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import GREY, batch_of, values_of
from small_pixelcnn_pp import MODELS, fresh, small

from tfprior.layers.weight_norm import WeightNormalized
from tfprior.priors import PixelCNNPP


@pytest.mark.each_once
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
    values = values_of(prior, 5)  # two batches
    return {
        "array": values,
        "tensor": tf.constant(values),
        "dataset": tf.data.Dataset.from_tensor_slices(values).batch(4),
        "dataset of tuples": tf.data.Dataset.from_tensor_slices((values,)).batch(4),
    }


@pytest.mark.slow("[array]", "dataset of tuples")
@pytest.mark.parametrize("feed", ["array", "tensor", "dataset", "dataset of tuples"])
def test_fit_initializes_once_on_its_first_batch(feed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prior, batches = fresh(GREY, num_stages=1), []
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


@pytest.mark.slow("weights.h5")
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


@pytest.mark.slow("own loop")
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
