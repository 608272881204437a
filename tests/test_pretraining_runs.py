"""Runs that train an encoder without labels: with a model of the tests, and with those of the package."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops
from small_runs import QUIET, options
from typer.testing import CliRunner

import tfprior.export
from tfprior.cli import app
from tfprior.data import Images, save_npz
from tfprior.encoders import Swin, ViT
from tfprior.export.client import OnnxEncoder
from tfprior.masked_images import MaskedImages
from tfprior.registry import build_model
from tfprior.registry.encoders import EncoderSizes
from tfprior.runs import load_encoder, load_prior, load_run, load_tokenizer
from tfprior.training import train
from tfprior.training.schedule import Schedule

VIT = {"encoder": "vit", "patch_size": 2, "hidden_dim": 8, "num_layers": 1, "num_heads": 2}
SWIN = {"encoder": "swin", "patch_size": 1, "hidden_dim": 4, "num_layers": 1, "num_heads": 1, "num_stages": 2}
DECODER = {"decoder_dim": 8, "decoder_layers": 1, "decoder_heads": 2}
MODELS: dict[str, dict[str, Any]] = {
    "mae": {**VIT, **DECODER},
    "simmim": {**SWIN, "window_size": 2, "unit_size": 2},
    "greenmim": {**SWIN, **DECODER, "window_size": 2, "unit_size": 2},
}


def striped(count: int = 48) -> Images:
    """Stripes, whose direction is the class."""
    random = np.random.default_rng(0)
    labels = np.arange(count + 16) % 2
    stripes = random.integers(0, 12, (count + 16, 1, 8, 1)) * np.ones((1, 8, 1, 1), int)
    values = np.where(labels[:, None, None, None] == 1, stripes, stripes.swapaxes(1, 2))
    return Images("stripes", values[:count], labels[:count], values[count:], labels[count:], num_levels=17)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_run_trains_an_encoder(tmp_path: Path, name: str) -> None:
    images = striped()
    half = {"precision": "mixed_bfloat16"} if name == "mae" else {}
    settings = options(epochs=2, learning_rate=0.01, smallest_crop=0.5, pictures_every=2, **half)
    run = train(images, {"name": name, **MODELS[name]}, tmp_path / "run", settings, console=QUIET)
    assert run == load_run(tmp_path / "run")
    assert run.config["kind"] == "encoder"
    assert run.score.name == ("hidden_mae" if name == "simmim" else "hidden_mse")
    rows = run.history()
    assert rows[1]["train"] < rows[0]["train"]
    assert {"reconstructions.png", "curve.png", "model_card.md"} <= {path.name for path in run.path.iterdir()}
    assert run.file("pictures/reconstructions-epoch-0002.png").exists()
    model = run.load()
    assert isinstance(model, MaskedImages)
    pixels = images.x_train / np.float32(16)
    np.testing.assert_allclose(model.scaling.mean, pixels.mean(), atol=1e-4)
    np.testing.assert_allclose(model.scaling.std, pixels.std(), atol=1e-4)
    encoder, scaling = load_encoder(run.path)
    assert isinstance(encoder, ViT if name == "mae" else Swin)
    assert scaling.get_config() == model.scaling.get_config()
    for weight, other in zip(encoder.get_weights(), model.encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    if name != "mae":  # which the commands export
        path = tfprior.export.save(model, tmp_path / "bundle", formats=["onnx"])
        assert set(tfprior.export.verify(path)) == {"files", "onnx features", "onnx reconstruct"}
    card = run.file("model_card.md").read_text()
    assert "load_encoder" in card
    for load, words in ((load_prior, "expected a prior"), (load_tokenizer, "expected a tokenizer")):
        with pytest.raises(ValueError, match=f"is an encoder, which `tfprior probe` .*{words}"):
            load(run.path)


@pytest.mark.slow
def test_an_interrupted_run_ends_as_the_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose masks are planned outside of its graph, step by step."""
    images, settings = striped(), options(epochs=2, checkpoint_minutes=1e-9)
    model = {"name": "greenmim", **MODELS["greenmim"]}
    whole = train(images, model, tmp_path / "whole", settings, console=QUIET)
    begin = Schedule.on_train_batch_begin

    def killed(self: Schedule, batch: int, logs: Any = None) -> None:
        if self.step == 7:
            raise KeyboardInterrupt
        begin(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Schedule, "on_train_batch_begin", killed)
        with pytest.raises(KeyboardInterrupt):
            train(images, model, tmp_path / "run", settings, console=QUIET)
    again = train(images, model, tmp_path / "run", settings, console=QUIET)
    for one, other in zip(again.load().get_weights(), whole.load().get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_commands_of_encoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = striped()
    save_npz(images, tmp_path / "stripes.npz")

    def said(*words: str) -> str:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == 0, result.output
        return result.output

    network = ["--patch-size", "2", "--hidden-dim", "8", "--layers", "1", "--heads", "2"]
    network += ["--decoder-dim", "8", "--decoder-layers", "1", "--decoder-heads", "2"]
    how = ["--data", "stripes.npz", "--epochs", "1", "--batch-size", "16", "--out", "run"]
    assert "square error" in said("pretrain", "--model", "mae", *network, *how)
    assert "accuracy, test images" in said("probe", "run", "--out", "probe.keras")
    tuned = ["finetune", "run", "--epochs", "1", "--validation-fraction", "0.25", "--out", "tuned"]
    found = said(*tuned)
    assert "epoch 1/1 · train" in found
    assert "accuracy, test images" in found
    said("reconstruct", "run", "--num", "4")
    assert (tmp_path / "reconstructions.png").exists()
    assert "square error" in said("evaluate", "run")
    said("info", "run")
    assert "ViT" in said("info", "probe.keras")
    assert "accuracy" in said("evaluate", "tuned")
    said("info", "tuned")
    assert "accuracy, test images" in said("probe", "tuned")
    said("export", "tuned", "bundle", "--format", "onnx")
    assert OnnxEncoder("bundle").classify(images.x_test / np.float32(16)).shape == (16, 2)
    said("export", "run", "features", "--format", "onnx")
    opened = OnnxEncoder("features")
    found = opened.features(images.x_test / np.float32(16))
    model: Any = load_run("run").load()
    noise = np.random.default_rng(0).random((16, 16), "float32")
    masked, reconstruction = opened.reconstruct(images.x_test / np.float32(16), noise, batch_size=5)
    again = model.reconstruct(images.x_test, noise)
    np.testing.assert_allclose(masked, again.masked, rtol=0, atol=1e-4)
    np.testing.assert_allclose(reconstruction, again.reconstruction, rtol=0, atol=1e-4)
    expected = model.encoder(model.scaling(images.x_test / np.float32(16)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    result = CliRunner().invoke(app, ["finetune", "run", "--out", "tuned.keras"])
    assert (result.exit_code, "expected a folder, which gets the best model" in result.output) == (2, True)
    result = CliRunner().invoke(app, tuned)
    assert (result.exit_code, "tuned holds a finished run" in result.output) == (1, True)
    result = CliRunner().invoke(app, ["pretrain", "pixel_cnn", "--out", "x"])
    assert (result.exit_code, "no such model; expected one of mae" in result.output) == (2, True)


# With a model of the tests


class Guess(NamedTuple):
    mean: Any


@keras.saving.register_keras_serializable("tests")
class MeanOfHidden(keras.Model):
    """Guesses one number for every hidden pixel of the right half."""

    error_name, shares_mask = "hidden_mse", False

    def __init__(self, encoder: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        encoder.trainable = False
        self.encoder, self.scaling = encoder, None
        self.guess = self.add_weight((), name="guess")
        self.built = True

    def call(self, images: Any, training: bool = False) -> Guess:
        return Guess(self.guess + 0 * ops.mean(images))

    def errors(self, images: Any, guessed: Guess) -> Any:
        return ops.mean(ops.square(images[:, :, 4:] - guessed.mean), axis=(1, 2, 3))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "MeanOfHidden":
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})


def test_masked_images_learn_by_plain_fit(tmp_path: Path) -> None:
    images, encoder = striped(), EncoderSizes(**VIT).build((8, 8, 1))
    model = MaskedImages(MeanOfHidden(encoder), 17)
    model.compile(keras.optimizers.SGD(0.5))
    history = model.fit(images.x_train, epochs=8, validation_data=images.x_test, verbose=0).history
    hidden = images.x_train[:, :, 4:] / 16
    assert float(model.model.guess) == pytest.approx(hidden.mean(), abs=0.03)
    assert history["hidden_mse"][-1] == pytest.approx(hidden.var(), rel=0.05)
    assert {"val_hidden_mse", "loss"} <= set(history)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    scores = [
        each.evaluate(images.x_test, verbose=0, return_dict=True)["hidden_mse"] for each in (model, again)
    ]
    assert scores[0] == scores[1]
    with pytest.raises(ValueError, match="lie"):
        model.fit(images.x_train + 10, verbose=0)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"encoder": "vit", "window_size": 3}, "window_size=3 of a ViT, which has none"),
        ({"encoder": "resnet"}, "encoder='resnet'; expected one of vit, swin"),
        ({"sizes": "giant"}, "has no sizes 'giant'; expected one of tiny_16"),
        ({"encoder": "swin", "patch_size": 3}, "images of 8 × 8 for patches of 3 × 3"),
    ],
)
def test_sizes_that_are_none(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EncoderSizes(**sizes).build((8, 8, 1))


def test_sizes_of_a_swin() -> None:
    swin = EncoderSizes("swin", patch_size=1, hidden_dim=8, num_layers=1, num_heads=2, num_stages=2).build(
        (8, 8, 1)
    )
    assert (swin.num_layers, swin.num_heads, swin.num_features) == ((1, 1), (2, 4), 16)


def test_codes_are_no_images() -> None:
    with pytest.raises(ValueError, match="stripes holds codes; expected images for an encoder"):
        build_model(dataclasses.replace(striped(), are_codes=True), {"name": "mae", **MODELS["mae"]})
