"""Tokenizers and priors that see by an encoder."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import features, integers, randomise

from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.encoders import Swin, ViT
from tfprior.float32_copies import in_float32
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE

SHAPE = (4, 8, 1)
IMAGES = integers(12, *SHAPE, top=16)


def vit(image_shape: Any = SHAPE, **options: Any) -> ViT:
    return ViT(image_shape, patch_size=2, num_layers=1, num_heads=2, hidden_dim=8, **options)


def vq_vae(encoder: Any, downsampling: int = 2, **options: Any) -> VQVAE:
    small = {"filters": 4, "num_residual_blocks": 1, "residual_filters": 4, **options}
    distribution = DiscretizedLogistic(16)
    return VQVAE(SHAPE, VectorQuantizer(6, 3), distribution, downsampling, encoder=encoder, **small)


def swin() -> Swin:
    return Swin(SHAPE, patch_size=1, num_layers=(1, 1), num_heads=(1, 2), hidden_dim=4, window_size=2)


@pytest.mark.slow("vit")
@pytest.mark.parametrize("encoder", [vit, swin])
def test_a_code_stands_for_a_place_of_the_encoders_map(encoder: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = vq_vae(encoder())
    assert model.code_shape == (2, 4, 1)
    assert not any(isinstance(layer, keras.layers.Conv2D) for layer in model.encoder[:-1])
    model.compile(optimizer=keras.optimizers.Adam(0.01))
    history = model.fit(IMAGES, batch_size=6, epochs=8, verbose=0).history["bits_per_dim"]
    assert history[-1] < history[0]
    codes = model.encode(IMAGES)
    expected = model.backbone.map_of(model.backbone(model.scaled(IMAGES)))
    np.testing.assert_array_equal(model.quantizer.encode(model.encoder[-1](expected)), codes)
    model.save(tmp_path / "model.keras")
    same = keras.models.load_model(tmp_path / "model.keras")
    assert same.get_config() == model.get_config()
    np.testing.assert_array_equal(same.encode(IMAGES), codes)
    np.testing.assert_array_equal(same.reconstruct(IMAGES), model.reconstruct(IMAGES))


def test_every_weight_of_the_encoder_learns() -> None:
    model = randomise(vq_vae(vit(use_class_token=False)))
    model.initialize(IMAGES)
    before = model.backbone.get_weights()
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    model.fit(IMAGES, verbose=0)
    still = [
        weight.path
        for weight, array in zip(model.backbone.weights, before, strict=True)
        if (np.asarray(weight) == array).all()
    ]
    assert still == []


def test_a_frozen_encoder_stays() -> None:
    model = vq_vae(vit())
    model.backbone.trainable = False
    before = model.backbone.get_weights()
    model.compile(optimizer="adam")
    model.fit(IMAGES, verbose=0)
    for weight, array in zip(model.backbone.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, array)


def test_half_precision_has_a_copy_in_float32() -> None:
    policy = "mixed_bfloat16"
    half, exact = vq_vae(vit(dtype=policy), dtype=policy), randomise(vq_vae(vit()))
    exact.initialize(IMAGES)
    half.set_weights(exact.get_weights())
    assert in_float32(half) is not half
    np.testing.assert_array_equal(half.encode(IMAGES), exact.encode(IMAGES))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda: vq_vae(vit((8, 8, 1))),
            r"from images \(8, 8, 1\) to maps of 4 × 4; expected images \(4, 8, 1\)",
        ),
        (
            lambda: vq_vae(vit(), downsampling=4),
            r"to maps of 2 × 4; expected .* maps of 1 × 2: downsampling is",
        ),
        (lambda: vq_vae(keras.layers.Dense(3)), r"got encoder=<Dense .*; expected one of tfprior.encoders"),
    ],
)
def test_what_does_not_fit_is_refused(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_prior_sees_what_an_encoder_sees() -> None:
    """Features of an encoder are a condition like any other, as one vector or as a map."""
    from tfprior.priors import GatedPixelCNN

    encoder = vit()
    seen = encoder(features(6, *SHAPE))
    for condition in (np.asarray(seen)[:, 0], np.asarray(encoder.map_of(seen))):
        prior = GatedPixelCNN(
            (2, 4, 1), Categorical(6), filters=4, num_layers=1, condition_shape=condition.shape[1:]
        )
        randomise(prior)
        codes = integers(6, 2, 4, 1, top=6)
        assert (prior.log_prob(codes, condition) != prior.log_prob(codes, condition[::-1])).any()
        assert prior.sample(6, condition, seed=0).shape == (6, 2, 4, 1)
