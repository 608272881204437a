"""Bundles of encoders and classifiers: the same features in Keras, SavedModel and ONNX Runtime."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from bundle_files import edit_manifest
from catalogue import randomise
from runtimes import save_everywhere

import tfprior.export
from tfprior.cli.tables import bundle_table
from tfprior.encoders import Classifier, Swin, ViT
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxEncoder, OnnxSampler, open_bundle
from tfprior.export.runtimes import USUAL
from tfprior.export.saved_model import open_saved_model
from tfprior.layers import ImageScaling


def pixels(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *shape), "uint8")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    encoder = ViT((4, 6, 3), 2, num_layers=1, num_heads=2, hidden_dim=8, dropout=0.5)
    scaling = ImageScaling((0.4, 0.5, 0.6), (0.2, 0.3, 0.2))
    return randomise(Classifier(encoder, 5, "class_token", scaling))


@pytest.fixture(scope="module")
def bundle(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "classifier"
    return save_everywhere(classifier, path, class_names=tuple("abcde"))


def test_a_classifier_gives_the_same_everywhere(classifier: Classifier, bundle: Path) -> None:
    opened = OnnxEncoder(bundle)
    manifest = opened.manifest
    assert (manifest.model.class_name, manifest.priors, manifest.images) == ("Classifier", (), None)
    saved = open_saved_model(bundle / "saved_model" / "1", manifest.functions)
    images = pixels(5, 4, 6, 3)
    logits, features = classifier(images), classifier.encoder(classifier.scaling(images))
    assert features.shape == (5, 7, 8)
    for count in (1, 5):
        floats = {"images": images[:count].astype("float32") / np.float32(255)}
        for found, expected in (
            (opened.features(images[:count]), features),
            (opened.features(floats["images"], batch_size=2), features),
            (opened.classify(images[:count]), logits),
            (saved("features", floats)["features"], features),
            (saved("classify", floats)["logits"], logits),
        ):
            np.testing.assert_allclose(found, expected[:count], rtol=0, atol=1e-4)
    assert manifest.encoder is not None
    assert (manifest.class_names, manifest.pixels) == (tuple("abcde"), "RGB")
    again = keras.saving.deserialize_keras_object(
        {"module": None, "class_name": "tfprior>Classifier", "config": manifest.model.config}
    )
    assert again.scaling.get_config() == classifier.scaling.get_config()


def test_a_swin_alone_in_half_precision(tmp_path: Path) -> None:
    swin = Swin((8, 12, 1), 2, (2, 1), (2, 2), 4, window_size=3, dtype="mixed_bfloat16")
    path = tfprior.export.save(swin, tmp_path / "swin", formats=("onnx",))
    assert set(tfprior.export.verify(path)) == {"files", "onnx features"}
    exact = Swin((8, 12, 1), 2, (2, 1), (2, 2), 4, window_size=3)
    exact.set_weights(swin.get_weights())
    images = pixels(3, 8, 12, 1).astype("float32") / 100 - 1
    opened = OnnxEncoder(path)
    assert opened.encoder.input == "floats scaled as the encoder was trained"
    np.testing.assert_allclose(opened.features(images), exact(images), rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="an encoder without classes; expected a Classifier's"):
        opened.classify(images)
    with pytest.raises(ValueError, match=r"uint8 \(3, 8, 12, 1\); expected floats scaled as the encoder was"):
        opened.features(pixels(3, 8, 12, 1))


def test_a_bundle_of_an_encoder_is_checked(bundle: Path, tmp_path: Path) -> None:
    assert set(tfprior.export.verify(bundle)) == {
        "files",
        *(f"{kind} {name}" for kind in USUAL for name in ("features", "classify")),
    }
    assert bundle_table(bundle).row_count
    before = (bundle / "manifest.json").read_text()

    def nudge(fields: Any) -> None:
        fields["encoder"]["golden"]["logits"][0][0] += 0.01

    def widen(fields: Any) -> None:
        fields["encoder"].update(num_classes=6, class_names=list("abcdef"))

    def rename(fields: Any) -> None:
        fields["encoder"]["class_names"].pop()

    def forget(fields: Any) -> None:
        fields["encoder"] = None

    for edit, message in (
        (nudge, r"onnx classify gives golden logits that differ by .*; do not use it"),
        (widen, r"encoder.golden.logits has the shape \(2, 5\); expected \(2, 6\)"),
        (rename, "encoder.class_names are 4; expected null, or one for each of 5 classes"),
        (forget, "the priors have the prefixes"),
    ):
        edit_manifest(bundle, edit)
        with pytest.raises(BundleError, match=message):
            tfprior.export.verify(bundle)
        (bundle / "manifest.json").write_text(before)


def test_what_bundles_of_encoders_are_not_for(bundle: Path, prior_bundle: Path) -> None:
    for opened in (open_bundle, OnnxSampler):
        with pytest.raises(
            BundleError, match="holds an encoder, which draws nothing: open it with OnnxEncoder"
        ):
            opened(bundle)
    with pytest.raises(BundleError, match="holds no encoder"):
        OnnxEncoder(prior_bundle)
    with pytest.raises(
        ValueError, match=r"uint8 \(2, 4, 4, 3\); expected pixels in \[0, 1\], or uint8, of shape"
    ):
        OnnxEncoder(bundle).features(pixels(2, 4, 4, 3))
