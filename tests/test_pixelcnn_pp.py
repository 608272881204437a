"""PixelCNN++: the size in the paper, training, and sampling on plain kernels.

Shapes: B batch · H W C grid, H ≠ W. Weights are random, biases too.
"""

import inspect
import math

import catalogue
import keras
import numpy as np
import pytest
from catalogue import (
    GREY,
    batch_of,
    condition_of,
    values_of,
)
from drawing import noise
from rollouts import teacher_forced, whole
from small_pixelcnn_pp import MIXTURE, model, small

from tfprior import compilation
from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.layers.weight_norm import WeightNormalized
from tfprior.priors import PixelCNNPP
from tfprior.sampling import sample


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
    prior = small(GREY, num_stages=1)
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


def test_mixed_bfloat16_initializes_trains_and_streams() -> None:
    prior = small(GREY, "labels", distribution=MIXTURE, dtype="mixed_bfloat16")
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


@pytest.mark.slow
def test_training_lowers_bits_per_dim() -> None:
    prior = PixelCNNPP((4, 4, 1), DiscretizedLogisticMixture(2, 16), filters=8, num_layers=1, num_stages=1)
    values = np.tile(np.arange(16, dtype="int32").reshape(1, 4, 4, 1), (32, 1, 1, 1))
    values = (values + np.random.default_rng(0).integers(0, 3, (32, 1, 1, 1))) % 16
    prior.compile(optimizer=keras.optimizers.Adam(0.01), jit_compile=False)
    history = prior.fit(values, epochs=15, batch_size=16, verbose=0).history["bits_per_dim"]
    assert history[-1] < history[0] - 1


def test_the_mixture_is_not_truncated() -> None:
    with pytest.raises(ValueError, match="use temperature"):
        sample(model("colour, mixture"), 2, top_k=2)
