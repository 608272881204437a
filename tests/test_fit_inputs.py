"""Every way that Keras feeds a model: what is wrong is refused in one sentence, and no weight is spoilt.

JAX is fed in test_jax.

Shapes: B batch · H W C grid.
"""

from typing import Any

import keras
import numpy as np
import pytest
from keras_sources import (
    GOOD,
    GRID,
    LABELS,
    LABELS_OUT,
    RANGE,
    SOURCES,
    Unseen,
    changed,
    finite,
    generated,
    in_batches,
    mixture,
    new,
)

each_source = pytest.mark.parametrize("source", SOURCES)
out_of_data = pytest.mark.filterwarnings("ignore:Your input ran out of data")


@pytest.mark.each_once
@out_of_data
@each_source
@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("embedding", [None, 3])
def test_values_out_of_range_stop_a_later_batch(source: str, method: str, embedding: Any) -> None:
    prior = new(value_embedding_dim=embedding)
    with pytest.raises(ValueError, match=RANGE) as caught:
        getattr(prior, method)(SOURCES[source](in_batches(changed(GOOD, 4, 3))), verbose=0)
    assert "\n" not in str(caught.value)
    assert finite(prior)
    prior.fit(GOOD, verbose=0)  # and the model is as good as before


@pytest.mark.slow("generator", "indexed")
@out_of_data
@pytest.mark.xla
@each_source
def test_values_out_of_range_stop_a_mixture_under_xla(source: str) -> None:
    prior = new(mixture(), jit_compile=True)
    with pytest.raises(ValueError, match=RANGE):
        prior.fit(SOURCES[source](in_batches(changed(GOOD, -4, 3))), verbose=0)
    assert finite(prior)


@pytest.mark.slow("generator")
@out_of_data
@each_source
def test_labels_out_of_range_stop_a_later_batch(source: str) -> None:
    prior = new(num_classes=3)
    batches = in_batches(GOOD, changed(LABELS, 3, 2))
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=LABELS_OUT):
            getattr(prior, method)(SOURCES[source](batches), verbose=0)
    assert finite(prior)


@out_of_data
def test_a_list_of_callbacks_of_ones_own_stops_too() -> None:
    prior = new()
    own = keras.callbacks.CallbackList([keras.callbacks.History()], model=prior)
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=RANGE):
            getattr(prior, method)(generated(in_batches(changed(GOOD, 4, 3))), verbose=0, callbacks=own)
    assert finite(prior)
    prior.fit(GOOD, verbose=0, callbacks=own)
    assert len(prior.history.history["loss"]) == 1


def test_conditions_without_numbers_stop_a_later_batch() -> None:
    prior, condition = new(condition_shape=(2,)), np.zeros((12, 2), "float32")
    batches = in_batches(GOOD, changed(condition, np.nan, 1))
    with pytest.raises(
        ValueError, match=r"The condition of 1 example holds NaN or infinity; expected finite"
    ):
        prior.fit(generated(batches), verbose=0)
    assert finite(prior)


def test_a_refused_batch_moves_no_weight() -> None:
    prior = new()
    before = prior.get_weights()
    with pytest.raises(ValueError, match=RANGE):
        prior.fit(Unseen([changed(GOOD, 4, 3)]), verbose=0)
    for weight, kept in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.slow("generator")
@out_of_data
@each_source
def test_predictions_are_parameters_or_refused(source: str) -> None:
    prior = new()
    expected = prior(GOOD)
    predicted = prior.predict(SOURCES[source](in_batches(GOOD)), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"3 examples hold values outside \[0, 3\]"):
        prior.predict(SOURCES[source](in_batches(changed(GOOD, 4, 3))), verbose=0)
    np.testing.assert_allclose(prior.predict(GOOD, batch_size=5, verbose=0), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(prior.predict_on_batch(GOOD), expected, rtol=0, atol=1e-5)


WRONG = [
    (GOOD / 3, r"values have dtype float64; expected integers: a prior models discrete values"),
    (GOOD[:, :1], r"values have shape \(\w+, 1, 4, 1\); expected \(batch, 2, 4, 1\)"),
    (GOOD[..., 0], r"values have shape \(\w+, 2, 4\); expected \(batch, 2, 4, 1\): add a channel axis"),
]


@pytest.mark.each_once
@each_source
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(("values", "message"), WRONG, ids=["floats", "grid", "channels"])
def test_type_and_shape_are_refused_from_every_source(
    source: str, method: str, values: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(new(), method)(SOURCES[source](in_batches(values)), verbose=0)


@pytest.mark.each_once
@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch", "__call__"])
@pytest.mark.parametrize(
    ("values", "message"),
    [*WRONG, (GOOD + 1, r"values lie in \[1, 4\]; expected"), (GOOD[:0], "Got an empty (batch|dataset)")],
)
def test_single_batches_are_refused(method: str, values: np.ndarray, message: str) -> None:
    prior = new()
    before = prior.get_weights()
    with pytest.raises(ValueError, match=message):
        getattr(prior, method)(values)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


def test_a_call_without_a_batch_axis_says_how_to_add_one() -> None:
    with pytest.raises(
        ValueError, match=r"shape \(2, 4, 1\); .*: add a batch axis with values\[None\], of a"
    ):
        new()(GOOD[0])
    with pytest.raises(ValueError, match=r"Got a tuple to call a prior with; expected values, or a dict"):
        new(num_classes=3)((GOOD, LABELS))


def test_functional_models_are_refused_when_they_are_built() -> None:
    prior = new()
    with pytest.raises(ValueError, match=r"values have dtype float32; expected integers"):
        prior(keras.Input(GRID))
    with pytest.raises(ValueError, match=r"values have shape \(None, 3, 4, 1\); expected \(batch, 2, 4, 1\)"):
        prior(keras.Input((3, 4, 1), dtype="int32"))
    values = keras.Input(GRID, dtype="int32")
    model = keras.Model(values, prior(values))
    np.testing.assert_allclose(model.predict(GOOD, verbose=0), prior(GOOD), rtol=0, atol=1e-5)


def test_tokenizers_are_fed_alike() -> None:
    from tfprior.distributions import DiscretizedLogistic
    from tfprior.quantizers import VectorQuantizer
    from tfprior.tokenizers import VQVAE

    tokenizer = VQVAE((4, 4, 1), VectorQuantizer(4, 2), DiscretizedLogistic(4), downsampling=2, filters=4)
    tokenizer.compile(optimizer="sgd", jit_compile=False)
    images = np.random.default_rng(0).integers(4, size=(12, 4, 4, 1)).astype("uint8")
    with pytest.raises(ValueError, match=RANGE):  # a generator gives its first batch for the codebook too
        tokenizer.fit(generated(in_batches(changed(images, 4, 3))), verbose=0)
    assert finite(tokenizer)
    assert not tokenizer.needs_initialization
    params = tokenizer.predict(images, batch_size=5, verbose=0)
    np.testing.assert_allclose(params, tokenizer(images).params, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="images have dtype float64; expected integers"):
        tokenizer(images / 3)
    with pytest.raises(ValueError, match="A tokenizer has no condition; pass the images alone"):
        tokenizer.fit(generated(in_batches(images, LABELS)), verbose=0)
