"""Categorical: its likelihood, and drawing by inverse CDF, against NumPy in float64."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features, integers

from tfprior.distributions import Categorical, OutputDistribution, SamplingOptions

CLASSES = 5
LOGITS = 3 * features(4, 2 * CLASSES)  # (B, C · K) of two channels
VALUES = integers(4, 2, top=CLASSES)
JUST_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def pmf(logits: np.ndarray) -> np.ndarray:
    """(…, K) probabilities in float64."""
    weights = np.exp(logits.astype("float64") - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def truncated(probabilities: np.ndarray, top_k: int | None, top_p: float | None) -> np.ndarray:
    """What may be drawn: sort, cut, keep the ties of the last one kept, share out anew."""
    kept = np.sort(probabilities)[::-1]
    if top_k is not None:
        kept = kept[:top_k]
    if top_p is not None:
        share = np.cumsum(kept) / kept.sum()
        kept = kept[: int(np.argmax(share >= top_p)) + 1]
    weights = np.where(probabilities >= kept[-1], probabilities, 0)
    return weights / weights.sum()


def draw(
    probabilities: list[float], uniforms: np.ndarray, jit_compile: bool = False, **options: Any
) -> np.ndarray:
    """One value for each uniform from one distribution."""
    with np.errstate(divide="ignore"):
        logits = np.log(np.asarray(probabilities, "float32"))
    logits = np.maximum(logits, -1e9)
    params = np.broadcast_to(logits, (len(uniforms), len(logits)))
    sample = Categorical(len(logits)).sample
    if jit_compile:
        sample = tf.function(sample, jit_compile=True, autograph=False)
    return sample(params, uniforms[:, None].astype("float32"), SamplingOptions(**options))[0].numpy()[:, 0]


# Likelihood ----------------------------------------------------------------------------------------------


def test_log_prob_is_the_log_of_the_softmax() -> None:
    expected = np.log(pmf(LOGITS.reshape(4, 2, CLASSES)))
    picked = np.take_along_axis(expected, VALUES[..., None], -1).sum((1, 2))
    np.testing.assert_allclose(Categorical(CLASSES).log_prob(LOGITS, VALUES), picked, rtol=1e-5)


def test_log_prob_of_unlikely_values_is_exact() -> None:
    logits = np.array([[1000.0, 0.0, -1000.0]], "float32")
    nats = [float(Categorical(3).log_prob(logits, np.array([[k]]))[0]) for k in range(3)]
    assert nats == [0.0, -1000.0, -2000.0]


def test_probabilities_sum_to_one() -> None:
    distribution = Categorical(CLASSES)
    every = np.arange(CLASSES, dtype="int32")[:, None]
    for logits in LOGITS.reshape(-1, CLASSES):
        nats = distribution.log_prob(np.broadcast_to(logits, (CLASSES, CLASSES)), every)
        assert np.exp(nats).sum() == pytest.approx(1, abs=1e-6)


def test_uniform_over_256_levels_is_eight_bits() -> None:
    nats = Categorical(256).log_prob(np.zeros((3, 256), "float32"), np.array([[0], [128], [255]]))
    np.testing.assert_allclose(-nats / np.log(2), 8, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_any_integers_are_values(dtype: str) -> None:
    distribution = Categorical(CLASSES)
    expected = distribution.log_prob(LOGITS, VALUES)
    np.testing.assert_array_equal(distribution.log_prob(LOGITS, VALUES.astype(dtype)), expected)


def test_mean_and_mode() -> None:
    probabilities = pmf(LOGITS.reshape(4, 2, CLASSES))
    distribution = Categorical(CLASSES)
    np.testing.assert_allclose(distribution.mean(LOGITS), probabilities @ np.arange(CLASSES), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(LOGITS), probabilities.argmax(-1))


# Inverse CDF ---------------------------------------------------------------------------------------------


def test_draws_invert_the_distribution_function() -> None:
    uniforms = np.random.default_rng(0).random((4, 2)).astype("float32")
    cdf = np.cumsum(pmf(LOGITS.reshape(4, 2, CLASSES)), -1)
    values, _ = Categorical(CLASSES).sample(LOGITS, uniforms)
    np.testing.assert_array_equal(values, (cdf <= uniforms[..., None]).sum(-1))


@pytest.mark.parametrize(
    ("probabilities", "lowest", "highest"),
    [
        ([0.25, 0.5, 0.25], 0, 2),
        ([0, 0.5, 0.5], 1, 2),
        ([0.5, 0.5, 0], 0, 1),
        ([0, 0, 1, 0, 0], 2, 2),
        ([1, 0, 0, 0], 0, 0),
        ([0, 0, 0, 1], 3, 3),
    ],
)
@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_ends_of_the_unit_interval(
    probabilities: list[float], lowest: int, highest: int, jit_compile: bool
) -> None:
    ends = np.array([0, 1e-45, JUST_BELOW_ONE], "float32")
    assert draw(probabilities, ends, jit_compile).tolist() == [lowest, lowest, highest]


def test_a_draw_on_a_boundary_belongs_to_the_class_above() -> None:
    uniforms = np.array([0.25, np.nextafter(np.float32(0.25), np.float32(0)), 0.75], "float32")
    assert draw([0.25, 0.5, 0.25], uniforms).tolist() == [1, 0, 2]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_classes_of_weight_zero_are_never_drawn(jit_compile: bool) -> None:
    rng = np.random.default_rng(1)
    weights = rng.random(256) * (rng.random(256) < 0.3)
    weights[[0, 100, 255]] = 0
    probabilities = weights / weights.sum()
    boundaries = np.cumsum(probabilities).astype("float32")
    around = [boundaries, np.nextafter(boundaries, np.float32(0)), np.nextafter(boundaries, np.float32(1))]
    uniforms = np.concatenate([*around, np.linspace(0, JUST_BELOW_ONE, 4096, dtype="float32")])
    drawn = draw(probabilities.tolist(), np.clip(uniforms, 0, JUST_BELOW_ONE), jit_compile)
    assert 0 <= drawn.min() <= drawn.max() < 256
    assert (probabilities[drawn] > 0).all()


def test_draws_follow_the_probabilities() -> None:
    probabilities = pmf(LOGITS[0, :CLASSES])
    drawn = draw(probabilities.tolist(), (np.arange(20000) + 0.5) / 20000)
    np.testing.assert_allclose(np.bincount(drawn, minlength=CLASSES) / 20000, probabilities, atol=1e-4)


def test_channels_use_their_own_uniforms() -> None:
    logits = np.tile(LOGITS[:1, :CLASSES], (1, 2))
    values, _ = Categorical(CLASSES).sample(logits, np.array([[0.0, JUST_BELOW_ONE]], "float32"))
    assert values.numpy().tolist() == [[0, CLASSES - 1]]


# Temperature and truncation ------------------------------------------------------------------------------


def test_temperature_divides_the_logits() -> None:
    uniforms = np.random.default_rng(0).random((4, 2)).astype("float32")
    distribution = Categorical(CLASSES)
    cold, _ = distribution.sample(LOGITS, uniforms, SamplingOptions(temperature=0.5))
    np.testing.assert_array_equal(cold, distribution.sample(2 * LOGITS, uniforms)[0])


def test_temperature_may_differ_between_examples() -> None:
    uniforms = np.random.default_rng(0).random((4, 2)).astype("float32")
    temperatures = np.array([0.1, 0.7, 1.0, 9.0], "float32")
    distribution = Categorical(CLASSES)
    together, _ = distribution.sample(LOGITS, uniforms, SamplingOptions(temperature=temperatures))
    for index, temperature in enumerate(temperatures):
        alone, _ = distribution.sample(
            LOGITS[index : index + 1], uniforms[index : index + 1], SamplingOptions(temperature)
        )
        np.testing.assert_array_equal(together[index], alone[0])


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-38])
def test_very_low_temperatures_draw_the_mode(temperature: float) -> None:
    uniforms = np.random.default_rng(0).random((4, 2)).astype("float32")
    distribution = Categorical(CLASSES)
    values, _ = distribution.sample(LOGITS, uniforms, SamplingOptions(temperature=temperature))
    np.testing.assert_array_equal(values, distribution.mode(LOGITS))


WEIGHTS = np.array([1, 4, 8, 2, 4, 1]) / 20


@pytest.mark.parametrize(
    ("top_k", "top_p"),
    [
        *[(k, None) for k in range(1, 7)],
        *[(None, p) for p in (0.01, 0.3, 0.5, 0.7, 0.85, 0.92, 1.0)],
        (3, 0.45),
        (3, 0.7),
        (2, 0.99),
        (6, 0.85),
        (1, 0.01),
    ],
)
def test_truncation_draws_what_a_sorted_list_allows(top_k: int | None, top_p: float | None) -> None:
    drawn = draw(WEIGHTS.tolist(), (np.arange(8000) + 0.5) / 8000, top_k=top_k, top_p=top_p)
    expected = truncated(WEIGHTS, top_k, top_p)
    frequencies = np.bincount(drawn, minlength=6) / 8000
    np.testing.assert_array_equal(frequencies > 0, expected > 0)
    np.testing.assert_allclose(frequencies, expected, atol=5e-4)


def test_ties_with_the_last_class_kept_stay() -> None:
    assert set(draw(WEIGHTS.tolist(), np.linspace(0, 0.999, 500), top_k=2)) == {1, 2, 4}
    assert set(draw([0.25] * 4, np.linspace(0, 0.999, 500), top_p=0.1)) == {0, 1, 2, 3}


def test_reported_likelihood_is_the_untempered_model_s() -> None:
    uniforms = np.random.default_rng(0).random((4, 2)).astype("float32")
    distribution = Categorical(CLASSES)
    values, nats = distribution.sample(LOGITS, uniforms, SamplingOptions(temperature=0.3, top_k=2, top_p=0.8))
    np.testing.assert_allclose(nats, distribution.log_prob(LOGITS, values), rtol=1e-6)


# Configuration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_levels", [1, 0, -3])
def test_fewer_than_two_classes_are_refused(num_levels: int) -> None:
    with pytest.raises(ValueError, match=rf"num_levels={num_levels}; expected an integer, 2 or more"):
        Categorical(num_levels)


@pytest.mark.parametrize("num_levels", [2.5, "17", None])
def test_a_number_of_classes_is_an_integer(num_levels: object) -> None:
    with pytest.raises(ValueError, match=r"num_levels=.*expected"):
        Categorical(num_levels)  # type: ignore[arg-type]


def test_numbers_of_params_and_uniforms() -> None:
    distribution = Categorical(17)
    assert (distribution.num_params(3), distribution.num_uniforms(3)) == (51, 3)
    assert distribution.num_levels == 17
    assert not distribution.orders_channels
    assert isinstance(distribution, OutputDistribution)


def test_serialized_form_names_the_class() -> None:
    config = keras.saving.serialize_keras_object(Categorical(17))
    assert config["registered_name"] == "tfprior>Categorical"
