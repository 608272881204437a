"""The discretized logistic mixture against NumPy in float64, TensorFlow Probability and its own pmf."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features, integers

from tfprior.distributions import DiscretizedLogistic, DiscretizedLogisticMixture, SamplingOptions

MIXTURE = DiscretizedLogisticMixture(2, 4)
PARAMS = features(1, MIXTURE.num_params(3))[0]
"""Of three channels of four levels: 64 pixels."""
PIXELS = np.array(list(itertools.product(range(4), repeat=3)), "int32")
JUST_BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


def parameters(logits: Any, means: Any, log_scales: Any, coefficients: Any = ()) -> np.ndarray:
    """(P,) of numbers for each part, (M,) or (C, M) in any nesting."""
    parts = [
        np.reshape(np.asarray(part, "float32"), -1) for part in (logits, means, log_scales, coefficients)
    ]
    return np.concatenate(parts)


def oracle(distribution: DiscretizedLogisticMixture, params: np.ndarray, values: np.ndarray) -> np.ndarray:
    """log_prob in float64 by another identity: sinh h / (cosh z + cosh h), half a bin h, z from the mean."""
    channels, top = values.shape[-1], distribution.num_levels - 1
    params = np.asarray(params, "float64")
    rows = params.reshape(*params.shape[:-1], -1, distribution.num_components)
    logits, means, log_scales, coefficients = np.split(rows, [1, 1 + channels, 1 + 2 * channels], axis=-2)
    x = 2 * values[..., None] / top - 1
    nats = logits[..., 0, :] - np.logaddexp.reduce(logits, axis=-1)
    pairs = iter(range(coefficients.shape[-2]))
    for c in range(channels):
        mean = means[..., c, :]
        for before in range(c):
            mean = mean + np.tanh(coefficients[..., next(pairs), :]) * x[..., before, :]
        rate = np.exp(-np.maximum(log_scales[..., c, :], -7))
        z, h = rate * (x[..., c, :] - mean), rate / top
        width = h + np.log(-np.expm1(-2 * h))
        middle = width - np.logaddexp(np.logaddexp(z, -z), np.logaddexp(h, -h))
        first, last = -np.logaddexp(0, -z - h), -np.logaddexp(0, z - h)
        value = values[..., c, None]
        nats = nats + np.where(value == 0, first, np.where(value == top, last, middle))
    return np.logaddexp.reduce(nats, axis=-1)


# Likelihood ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_levels", [2, 4, 17, 256])
def test_probabilities_sum_to_one(num_levels: int) -> None:
    means = [-50, -3, -1, -0.9, -0.3, 0, 0.5, 1, 1.7, 50]
    pairs = itertools.product(means, [-7, -6, -4, -2, -1, 0, 1, 3, 10, 30])
    params = np.stack([parameters(0, *pair) for pair in pairs])
    every = np.arange(num_levels)[:, None]
    nats = DiscretizedLogistic(num_levels).log_prob(params[:, None], every).numpy()  # (N, L)
    np.testing.assert_allclose(np.exp(nats.astype("float64")).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize(("channels", "num_levels"), [(2, 4), (3, 4), (3, 2), (4, 3)])
def test_probabilities_of_coupled_channels_sum_to_one(channels: int, num_levels: int) -> None:
    distribution = DiscretizedLogisticMixture(3, num_levels)
    pixels = np.array(list(itertools.product(range(num_levels), repeat=channels)))
    params = 2 * features(5, 1, distribution.num_params(channels))
    nats = distribution.log_prob(params, pixels).numpy()
    np.testing.assert_allclose(np.exp(nats).sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("num_levels", [2, 4, 256])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_log_prob_is_the_oracle_s(num_levels: int, channels: int) -> None:
    distribution = DiscretizedLogisticMixture(5, num_levels)
    params = features(400, distribution.num_params(channels))
    values = integers(400, channels, top=num_levels)
    values[:20], values[20:40] = 0, num_levels - 1
    expected = oracle(distribution, params, values)
    np.testing.assert_allclose(distribution.log_prob(params, values), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("value", [0, 1, 128, 254, 255])
def test_log_prob_is_exact_in_far_tails_and_at_extreme_scales(value: int) -> None:
    distribution = DiscretizedLogistic()
    pairs = itertools.product([-1e3, -20, -2, 0.25, 2, 20, 1e3], [-1e3, -7, -4, 0, 5, 10, 15, 30])
    params = np.stack([parameters(0, *pair) for pair in pairs])
    values = np.full((len(params), 1), value)
    expected = oracle(distribution, params, values)
    # Scales of e⁻⁷ show how a level on [−1, 1] is rounded, as if the mean were a unit in the last place off.
    bound = 1e-5 + 2**-23 * np.exp(-np.maximum(params[:, 2], -7))
    error = np.abs(distribution.log_prob(params, values) - expected)
    assert (error <= bound + 1e-5 * np.abs(expected)).all()


def composite(params: np.ndarray, values: np.ndarray, components: int, num_levels: int) -> Any:
    """The mixture as TensorFlow Probability composes it, coupled by hand for the given values."""
    from tensorflow_probability import bijectors as tfb
    from tensorflow_probability import distributions as tfd

    channels, top = values.shape[-1], num_levels - 1
    rows = params.reshape(len(params), -1, components)
    means, log_scales, coefficients = np.split(rows[:, 1:], [channels, 2 * channels], axis=1)
    x = (2 * values / top - 1).astype("float32")[..., None]
    means = means.copy()
    for index, (channel, before) in enumerate([(c, b) for c in range(channels) for b in range(c)]):
        means[:, channel] += np.tanh(coefficients[:, index]) * x[:, before]
    location, scale = (means + 1) * top / 2, np.exp(np.maximum(log_scales, -7)) * top / 2
    logistic = tfd.Logistic(location.transpose(0, 2, 1), scale.transpose(0, 2, 1))  # (B, M, C)
    shifted = tfd.TransformedDistribution(logistic, tfb.Shift(np.float32(-0.5)))
    quantized = tfd.QuantizedDistribution(shifted, low=0.0, high=float(top))
    return tfd.MixtureSameFamily(tfd.Categorical(rows[:, 0]), tfd.Independent(quantized, 1))


@pytest.mark.parametrize("channels", [1, 3])
def test_log_prob_is_that_of_tensorflow_probability(channels: int) -> None:
    distribution = DiscretizedLogisticMixture(4, 256)
    params = features(300, distribution.num_params(channels))
    values = integers(300, channels, top=256)
    values[:10], values[10:20] = 0, 255
    expected = composite(params, values, 4, 256).log_prob(values.astype("float32"))
    np.testing.assert_allclose(distribution.log_prob(params, values), expected, rtol=1e-5, atol=1e-4)


def test_one_component_is_the_plain_discretized_logistic() -> None:
    params, values = features(5, 10), integers(5, 3, top=9)
    nats = DiscretizedLogistic(9).log_prob(params, values)
    np.testing.assert_array_equal(nats, DiscretizedLogisticMixture(1, 9).log_prob(params, values))


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_any_integers_are_values(dtype: str) -> None:
    params = features(64, MIXTURE.num_params(3))
    expected = MIXTURE.log_prob(params, PIXELS)
    np.testing.assert_array_equal(MIXTURE.log_prob(params, PIXELS.astype(dtype)), expected)


def test_likelihood_is_float32_under_mixed_bfloat16() -> None:
    distribution = DiscretizedLogisticMixture(3, 256)
    params = tf.cast(features(10, 1, distribution.num_params(1)), "bfloat16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        nats = distribution.log_prob(params, np.arange(256)[:, None])
    finally:
        keras.config.set_dtype_policy("float32")
    assert nats.dtype == "float32"
    np.testing.assert_allclose(np.exp(nats).sum(-1), 1, atol=1e-5)


# Gradients -----------------------------------------------------------------------------------------------


def gradient(distribution: DiscretizedLogisticMixture, params: np.ndarray, values: np.ndarray) -> tf.Tensor:
    params = tf.convert_to_tensor(params, "float32")
    with tf.GradientTape() as tape:
        tape.watch(params)
        nats = distribution.log_prob(params, values)
    return tape.gradient(nats, params)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_gradients_are_finite_everywhere(jit_compile: bool) -> None:
    distribution = DiscretizedLogistic()
    means = [-1e6, -1e3, -1, 0, 0.3, 1, 1e3, 1e6]
    log_scales = [-1000, -100, -8, -7, -3, 0, 3, 10, 15, 30, 100, 1000]
    levels = [0, 1, 127, 254, 255]
    cases = list(itertools.product(means, log_scales, levels))
    params = np.stack([parameters(0, mean, log_scale) for mean, log_scale, _ in cases])
    values = np.array([[level] for _, _, level in cases])
    function = tf.function(
        lambda p, v: (distribution.log_prob(p, v), gradient(distribution, p, v)), jit_compile=jit_compile
    )
    nats, slopes = function(params, values)
    assert np.isfinite(nats).all()
    assert np.isfinite(slopes).all()
    assert (np.abs(slopes) < 1e10).all()


def test_gradients_are_those_of_the_oracle() -> None:
    distribution = DiscretizedLogisticMixture(2, 16)
    size = distribution.num_params(3)
    params, values = features(30, size), integers(30, 3, top=16)
    values[:5], values[5:10] = 0, 15
    steps = 1e-5 * np.eye(size)[:, None]
    wide = params.astype("float64")
    difference = oracle(distribution, wide + steps, values) - oracle(distribution, wide - steps, values)
    slopes = gradient(distribution, params, values)
    np.testing.assert_allclose(slopes, difference.T / 2e-5, rtol=1e-4, atol=1e-4)


# Sampling ------------------------------------------------------------------------------------------------


def draw(
    distribution: DiscretizedLogisticMixture, params: np.ndarray, count: int, **options: Any
) -> np.ndarray:
    """(count, C) from one set of parameters of three channels."""
    uniforms = np.random.default_rng(0).random((count, 4), "float32")
    return distribution.sample(
        np.broadcast_to(params, (count, len(params))), uniforms, SamplingOptions(**options)
    )[0].numpy()


def test_draws_follow_the_enumerated_probabilities() -> None:
    count = 50_000
    expected = count * np.exp(MIXTURE.log_prob(PARAMS, PIXELS).numpy())
    found = np.bincount(draw(MIXTURE, PARAMS, count) @ [16, 4, 1], minlength=64)
    assert expected.min() > 10
    chi_square = ((found - expected) ** 2 / expected).sum()
    assert abs(chi_square - 63) < 4 * np.sqrt(2 * 63)


def test_channels_are_conditioned_on_the_integers_before_them() -> None:
    # R is drawn at .2 and rounded to 1/3; the mean of G, R − .3, is then above the middle: level 2, not 1.
    params = parameters(0, [0.2, -0.3, 0], [-9, -9, -9], [20, 0, 0])
    values = draw(DiscretizedLogistic(4), params, 8)
    assert values[:, :2].tolist() == [[2, 2]] * 8


def test_component_and_channels_use_independent_uniforms() -> None:
    means = np.array([[-0.5, 0.5]] * 3)
    params = parameters([0, 0], means, np.full((3, 2), -3.5), np.zeros((3, 2)))
    values = draw(DiscretizedLogisticMixture(2, 256), params, 50_000) / 127.5 - 1
    component = (values.mean(-1) > 0).astype(int)
    assert component.mean() == pytest.approx(0.5, abs=0.01)
    residuals = values - means[0, component][:, None]
    correlations = np.corrcoef(np.column_stack([component, residuals]).T)
    assert np.abs(correlations - np.eye(4)).max() < 4 / np.sqrt(50_000)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_the_ends_of_the_unit_interval(jit_compile: bool) -> None:
    params = parameters([0, 0], np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 2)))
    uniforms = np.array([[0] * 4, [1e-45] * 4, [JUST_BELOW_ONE] * 4, [1] * 4], "float32")
    sample = tf.function(DiscretizedLogisticMixture(2, 256).sample, jit_compile=jit_compile, autograph=False)
    values, nats = sample(np.tile(params, (4, 1)), uniforms)
    assert values.numpy().tolist() == [[0] * 3, [0] * 3, [255] * 3, [255] * 3]
    assert np.isfinite(nats).all()


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("log_scale", [-1000, 1000])
@pytest.mark.parametrize("mean", [-1e6, 0, 1e6])
def test_extreme_parameters_draw_levels(mean: float, log_scale: float, jit_compile: bool) -> None:
    params = parameters([1000, -1000], np.full((3, 2), mean), np.full((3, 2), log_scale), np.ones((3, 2)))
    uniforms = np.array([[0] * 4, [0.3] * 4, [JUST_BELOW_ONE] * 4], "float32")
    sample = tf.function(DiscretizedLogisticMixture(2, 256).sample, jit_compile=jit_compile, autograph=False)
    for temperature in (1e-38, 1.0, 1e6):
        values, nats = sample(np.tile(params, (3, 1)), uniforms, SamplingOptions(np.float32(temperature)))
        assert 0 <= np.min(values) <= np.max(values) <= 255
        assert np.isfinite(nats).all()


def test_components_of_weight_zero_are_never_drawn() -> None:
    params = parameters([-1e9, 0, -1e9], [-1, 0, 1], [-7, -7, -7])
    uniforms = np.array([[0, 0.5], [0.5, 0.5], [JUST_BELOW_ONE, 0.5]], "float32")
    values, _ = DiscretizedLogisticMixture(3, 5).sample(np.tile(params, (3, 1)), uniforms)
    assert values.numpy().tolist() == [[2]] * 3


def test_reported_likelihood_is_the_untempered_model_s() -> None:
    params, uniforms = (
        features(50, MIXTURE.num_params(3)),
        np.random.default_rng(0).random((50, 4), "float32"),
    )
    values, nats = MIXTURE.sample(params, uniforms, SamplingOptions(temperature=0.3))
    np.testing.assert_array_equal(nats, MIXTURE.log_prob(params, values))


def test_temperature_divides_the_logits_and_multiplies_the_scales() -> None:
    params, uniforms = (
        features(200, MIXTURE.num_params(3)),
        np.random.default_rng(0).random((200, 4), "float32"),
    )
    cold = params.copy()
    cold[:, :2] /= 0.5
    cold[:, 8:14] += np.log(0.5)
    values, _ = MIXTURE.sample(params, uniforms, SamplingOptions(temperature=0.5))
    np.testing.assert_array_equal(values, MIXTURE.sample(cold, uniforms)[0])


def test_temperature_may_differ_between_examples() -> None:
    params, uniforms = features(4, MIXTURE.num_params(3)), np.random.default_rng(0).random((4, 4), "float32")
    temperatures = np.array([0.1, 0.7, 1.0, 9.0], "float32")
    together, _ = MIXTURE.sample(params, uniforms, SamplingOptions(temperatures))
    for index, temperature in enumerate(temperatures):
        one = slice(index, index + 1)
        np.testing.assert_array_equal(
            together[one], MIXTURE.sample(params[one], uniforms[one], SamplingOptions(temperature))[0]
        )


def test_low_temperatures_draw_the_means_of_the_likeliest_component() -> None:
    params = parameters([2, 1], [[-1, 1], [0, 1], [0.9, 1]], np.zeros((3, 2)), np.zeros((3, 2)))
    values = draw(DiscretizedLogisticMixture(2, 5), params, 100, temperature=1e-6)
    assert values.tolist() == [[0, 2, 4]] * 100


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_p": 0.9}])
def test_truncation_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use temperature instead"):
        draw(MIXTURE, PARAMS, 2, **options)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_draws_in_a_loop_are_the_eager_ones(jit_compile: bool) -> None:
    params, uniforms = (
        features(5, MIXTURE.num_params(3)),
        np.random.default_rng(0).random((5, 3, 4), "float32"),
    )

    def loop(params: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
        def body(step: tf.Tensor, drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            values, _ = MIXTURE.sample(params, tf.gather(uniforms, step, axis=1))
            return step + 1, drawn * 4 + values

        start = tf.zeros_like(params[:, :3], "int32")
        return tf.while_loop(lambda step, _: step < 3, body, (0, start))[1]

    signature = [tf.TensorSpec((None, params.shape[-1])), tf.TensorSpec((None, 3, 4))]
    function = tf.function(loop, input_signature=signature, jit_compile=jit_compile, autograph=False)
    np.testing.assert_array_equal(function(params, uniforms), loop(params, uniforms))


# Mean and mode -------------------------------------------------------------------------------------------


def test_mean_and_mode_of_one_channel_are_exact() -> None:
    distribution = DiscretizedLogisticMixture(3, 32)
    params = features(50, distribution.num_params(1))
    pmf = np.exp(oracle(distribution, params[:, None], np.arange(32)[:, None]))
    np.testing.assert_allclose(distribution.mean(params)[:, 0], pmf @ np.arange(32), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(params)[:, 0], pmf.argmax(-1))


def test_mean_of_uncoupled_channels_is_exact() -> None:
    params = features(1, MIXTURE.num_params(3))
    params[:, -6:] = 0
    pmf = np.exp(oracle(MIXTURE, params, PIXELS))
    np.testing.assert_allclose(MIXTURE.mean(params), [pmf @ PIXELS], rtol=1e-4)


def test_mean_of_coupled_channels_is_near_the_enumerated() -> None:
    distribution = DiscretizedLogisticMixture(2, 16)
    params = parameters([0, 1], [[-0.2, 0.3]] * 3, [[-2.5, -2]] * 3, [[0.5, -0.5]] * 3)
    pixels = np.array(list(itertools.product(range(16), repeat=3)))
    pmf = np.exp(oracle(distribution, params, pixels))
    np.testing.assert_allclose(distribution.mean(params[None]), [pmf @ pixels], atol=0.02)


def test_mode_is_the_likeliest_level_given_the_channels_before() -> None:
    params = features(20, MIXTURE.num_params(3))
    pmf = np.exp(oracle(MIXTURE, params[:, None], PIXELS)).reshape(20, 4, 4, 4)
    for joint, found in zip(pmf, MIXTURE.mode(params).numpy(), strict=True):
        red = joint.sum((1, 2)).argmax()
        green = joint[red].sum(-1).argmax()
        assert found.tolist() == [red, green, joint[red, green].argmax()]


# Arguments -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_components": 0}, "num_components=0; expected a positive integer"),
        ({"num_components": 2.5}, r"num_components=2.5; expected a positive integer"),
        ({"num_levels": 1}, "num_levels=1; expected an integer, 2 or more"),
        ({"num_levels": "256"}, "num_levels='256'; expected an integer, 2 or more"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DiscretizedLogisticMixture(**arguments)


@pytest.mark.parametrize("method", ["log_prob", "sample"])
def test_a_wrong_number_of_parameters_is_refused(method: str) -> None:
    values = np.zeros((2, 3 if method == "log_prob" else 4), "float32")
    with pytest.raises(ValueError, match="got 18 parameters a pixel for 3 channels; expected 20"):
        getattr(MIXTURE, method)(np.zeros((2, 18), "float32"), values)


@pytest.mark.parametrize("method", ["mean", "mode", "to_tfp"])
def test_a_number_of_parameters_of_no_channels_is_refused(method: str) -> None:
    with pytest.raises(
        ValueError, match="got 19 parameters a pixel; expected 6 for one channel, 20 for three"
    ):
        getattr(MIXTURE, method)(np.zeros((2, 19), "float32"))


def test_numbers_of_params_and_uniforms() -> None:
    distribution = DiscretizedLogisticMixture()
    assert (distribution.num_components, distribution.num_levels) == (10, 256)
    assert [distribution.num_params(channels) for channels in (1, 2, 3, 4)] == [30, 60, 100, 150]
    assert [distribution.num_channels(size) for size in (30, 60, 100, 150)] == [1, 2, 3, 4]
    assert distribution.num_uniforms(3) == 4
    assert distribution.orders_channels


def test_no_number_draws_a_level_and_has_no_likelihood() -> None:
    distribution = DiscretizedLogisticMixture(2, 8)
    params = np.full((4, distribution.num_params(3)), np.nan, "float32")
    values, nats = distribution.sample(params, np.full((4, 4), 0.5, "float32"))
    assert ((np.asarray(values) >= 0) & (np.asarray(values) < 8)).all()
    assert np.isnan(nats).all()
