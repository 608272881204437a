"""Linear probes and fine-tuning: what they learn, of which images, and what they refuse."""

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small_runs import QUIET

from tfprior.data import Images, hold_out_validation
from tfprior.encoders import Classifier, ViT
from tfprior.labelled_images import LabelledImages
from tfprior.layers import ImageScaling
from tfprior.probing import (
    FineTuningOptions,
    accuracy_of,
    features_of,
    fine_tune,
    fine_tune_run,
    linear_probe,
)
from tfprior.runs import load_encoder, load_prior
from tfprior.runs.model_file import save_model
from tfprior.training.schedule import Schedule

SCALING = ImageScaling(0.4, 0.2)


def vit(**options: Any) -> ViT:
    keras.utils.set_random_seed(0)
    return ViT((4, 4, 1), 2, num_layers=1, num_heads=2, hidden_dim=8, **options)


def bars(num_levels: int = 256, num_classes: int = 3, count: int = 96) -> Images:
    """Noise with a bright bar, whose column is the class."""
    random = np.random.default_rng(0)
    labels = random.integers(0, num_classes, count + 40)
    values = random.integers(0, num_levels // 2, (count + 40, 4, 4, 1))
    values[np.arange(count + 40), :, labels] += num_levels // 3
    return Images(
        "bars", values[:count], labels[:count], values[count:], labels[count:], num_levels=num_levels
    )


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_probe_is_logistic_regression_on_features_that_stay(num_classes: int) -> None:
    encoder, images = vit(), bars(num_classes=num_classes)
    before = encoder.get_weights()
    classifier, accuracy, in_training = linear_probe(encoder, images, SCALING, "class_token", batch_size=32)
    for weight, other in zip(encoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, other)
    train, test = (
        np.asarray(encoder((x / np.float32(255) - np.float32(0.4)) / np.float32(0.2)))[:, 0]
        for x in (images.x_train, images.x_test)
    )
    np.testing.assert_allclose(features_of(classifier, images.x_test), test, rtol=0, atol=1e-5)
    oracle = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, images.y_train)
    found = keras.ops.softmax(classifier(images.x_test))
    np.testing.assert_allclose(found, oracle.predict_proba(test), rtol=0, atol=2e-3)
    assert accuracy == pytest.approx(oracle.score(test, images.y_test), abs=0.026)
    assert accuracy == accuracy_of(classifier, images.x_test, images.y_test, batch_size=7)
    assert in_training > 1.5 / num_classes


def test_a_class_without_training_images_is_never_given() -> None:
    images = bars()
    absent = dataclasses.replace(
        images, y_train=images.y_train * 2, class_names=("a", "b", "c", "d", "e", "f")
    )
    classifier, *_ = linear_probe(vit(), absent, penalty=10.0)
    assert classifier.num_classes == 6
    assert set(np.argmax(classifier(images.x_test), axis=-1)) <= {0, 2, 4}


def test_images_of_few_levels_are_pixels_from_0_to_1() -> None:
    images = bars(num_levels=18)
    probed = linear_probe(vit(), images)
    whole = dataclasses.replace(
        images, x_train=images.x_train * 15, x_test=images.x_test * 15, num_levels=256
    )
    again = linear_probe(vit(), whole)
    np.testing.assert_allclose(probed.classifier.head.kernel, again.classifier.head.kernel, atol=1e-3)


def test_fine_tuning_changes_all_but_what_is_frozen() -> None:
    encoder, images = vit(), bars(num_levels=17)
    encoder.patches.trainable = False
    before = {weight.path: np.asarray(weight) for weight in encoder.weights}
    options = FineTuningOptions(epochs=30, batch_size=16, learning_rate=0.02, layer_decay=0.9)
    classifier, accuracy, _ = fine_tune(encoder, images, options, SCALING)
    assert classifier.encoder is encoder
    same = {path for path, value in before.items() if path.split("/")[1] == "patches"}
    found = {weight.path for weight in encoder.weights if np.array_equal(weight, before[weight.path])}
    assert found == same
    assert accuracy > 0.9
    scaled = images.x_test / np.float32(16)
    assert accuracy == np.mean(np.argmax(classifier(scaled), axis=-1) == images.y_test)


@pytest.mark.slow
def test_a_fine_tuning_run_that_was_killed_ends_as_the_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch is scored on what is held out, and the best one is kept."""
    images, pretrained = bars(num_levels=17), tmp_path / "vit.keras"
    save_model(vit(), pretrained)
    options = FineTuningOptions(
        epochs=3, batch_size=16, learning_rate=0.02, validation_fraction=0.25, checkpoint_minutes=1e-9
    )
    whole = fine_tune_run(pretrained, images, tmp_path / "whole", options, console=QUIET)
    begin = Schedule.on_train_batch_begin

    def killed(self: Schedule, batch: int, logs: Any = None) -> None:
        if self.step == 6:
            raise KeyboardInterrupt
        begin(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "on_train_batch_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            fine_tune_run(pretrained, images, tmp_path / "run", options, console=QUIET)
    again = fine_tune_run(pretrained, images, tmp_path / "run", options, console=QUIET)
    for which in ("best.keras", "last.keras"):
        for one, other in zip(again.load(which).get_weights(), whole.load(which).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    rows = again.history()
    assert [row["validation"] for row in rows] == [row["validation"] for row in whole.history()]
    assert again.best_score == max(row["validation"] for row in rows)
    model: Any = again.load()
    _, held_out = hold_out_validation(images, 0.25, 2000, 16, 0)
    logits = model.predict(held_out.x_train, verbose=0)
    assert again.best_score == pytest.approx(np.mean(logits.argmax(-1) == held_out.y_train))
    np.testing.assert_allclose(logits, model.classifier(held_out.x_train / np.float32(16)), atol=1e-5)
    assert "| this classifier |" in again.file("model_card.md").read_text()
    assert isinstance(load_encoder(again.path).encoder, ViT)
    with pytest.raises(ValueError, match="is a classifier, which `tfprior probe`"):
        load_prior(again.path)
    with pytest.raises(ValueError, match="holds a finished run"):
        fine_tune_run(pretrained, images, tmp_path / "run", options, console=QUIET)
    unlabelled = dataclasses.replace(images, y_train=None)
    with pytest.raises(ValueError, match="bars has no labels for its train split"):
        fine_tune_run(pretrained, unlabelled, tmp_path / "other", options, console=QUIET)
    assert not (tmp_path / "other").exists()


def test_labelled_images_learn_smoothed_labels() -> None:
    images = bars()
    model = LabelledImages(Classifier(vit(), 3, scaling=SCALING), label_smoothing=0.2)
    model.compile(run_eagerly=True)
    scores = model.evaluate(images.x_test, images.y_test, batch_size=40, verbose=0, return_dict=True)
    logits = model.predict(images.x_test, verbose=0)
    oracle = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2)
    assert scores["loss"] == pytest.approx(float(oracle(np.eye(3)[images.y_test], logits)), rel=1e-5)
    assert scores["accuracy"] == pytest.approx(np.mean(logits.argmax(-1) == images.y_test))
    with pytest.raises(ValueError, match=r"images without labels; expected the class of each"):
        model.fit(images.x_train, verbose=0)
    with pytest.raises(ValueError, match=r"Labels lie in \[0, 3\]; expected \[0, 2\]"):
        model.fit(tf.data.Dataset.from_tensors((images.x_train[:2], np.array([0, 3]))), verbose=0)


def test_the_same_seed_fine_tunes_alike() -> None:
    options = FineTuningOptions(epochs=1, batch_size=32, smallest_crop=0.5, flip=True, seed=3)
    one, two = (fine_tune(vit(dropout=0.5), bars(), options).classifier for _ in range(2))
    for weight, other in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_a_probed_classifier_is_saved_and_loaded(tmp_path: Any) -> None:
    images = bars()
    classifier, *_ = linear_probe(vit(), images, SCALING)
    classifier.save(tmp_path / "probe.keras")
    again = keras.saving.load_model(tmp_path / "probe.keras")
    assert isinstance(again, Classifier)
    np.testing.assert_allclose(again(images.x_test), classifier(images.x_test), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": None}, "bars has no labels for its train split; expected the class of every image"),
        ({"y_test": None}, "bars has no labels for its test split"),
        ({"are_codes": True}, "bars holds codes; expected images"),
        ({"y_train": np.zeros(96, int)}, "training images of one class alone"),
    ],
)
def test_images_without_classes_are_refused(changes: Any, message: str) -> None:
    images = dataclasses.replace(bars(), **changes)
    for use in (linear_probe, fine_tune):
        with pytest.raises(ValueError, match=message):
            use(vit(), images)


def test_other_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"got images of shape \(None, 4, 4, 1\); expected \(batch, 8, 8, 1\)"
    ):
        linear_probe(ViT((8, 8, 1), 4, num_layers=1, num_heads=1, hidden_dim=4), bars())
    with pytest.raises(ValueError, match="penalty=0; expected a number above 0"):
        linear_probe(vit(), bars(), penalty=0)
    for name, value in {"epochs": 0, "layer_decay": 1.5, "label_smoothing": 1, "warmup_epochs": -1}.items():
        with pytest.raises(ValueError, match=f"{name}={value}; expected a"):
            FineTuningOptions(**{name: value})
    with pytest.raises(
        ArithmeticError, match=r"diverged in epoch \d: its loss is nan; lower the learning rate"
    ):
        fine_tune(vit(), bars(), FineTuningOptions(epochs=2, learning_rate=1e30, warmup_epochs=0))
