"""`tfprior train`: folders it fills, and the options of each model."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, epochs_in, rgb, run
from data_files import Doubling, integers, save_image
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.cli.declared_options import spellings
from tfprior.data import encode_dataset, load
from tfprior.registry import MODELS, build_model, described
from tfprior.runs import load_prior, load_run, load_tokenizer
from tfprior.training import TrainingOptions


def test_train_fills_a_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "best.keras", "last.keras", "metrics.csv", "curve.png", "samples.png"} <= names
    assert "Use it" in (trained / "model_card.md").read_text()
    config = load_run(trained).config
    assert config["model"]["conditional"] is True
    assert config["data"]["levels"] == 4
    assert config["data"]["grid_shape"] == [4, 5, 1]


@pytest.mark.slow
def test_pixelcnn_pp_goes_the_whole_way(pictures: Path, tmp_path: Path) -> None:
    folder, picture = tmp_path / "run", tmp_path / "samples.png"
    network = ["pixelcnn_pp", "--stages", 1, "--components", 2, "--filters", 4, "--layers", 1]
    options = ["--epochs", 2, "--batch-size", 8, "--flip", "--ema", 0.5, "--levels", 4]
    run("train", *network, "--data", pictures, "--out", folder, *options)
    prior = load_prior(folder / "best.keras")
    assert (prior.num_stages, prior.distribution.num_components) == (1, 2)
    assert not prior.needs_initialization
    with np.load(pictures) as archive:
        bits = np.mean(prior.bits_per_dim(archive["x_test"]))
    assert f"{bits:.4f}" in run("evaluate", folder)
    run("sample", folder, "--num", 4, "--out", picture)
    assert rgb(picture).any()


def test_a_tokenizer_fills_a_run_folder(tokenizer: Path) -> None:
    config = load_run(tokenizer).config
    expected = {
        "name": "vq_vae",
        "codebook_size": 6,
        "code_dim": 3,
        "downsampling": 2,
        "filters": 4,
        "num_residual_blocks": 1,
        "output": "logistic_mixture",
    }
    assert expected.items() <= config["model"].items()
    model = load_tokenizer(tokenizer)
    assert (model.codebook_size, model.code_shape) == (6, (4, 2, 1))
    assert model.distribution.num_components == 10
    assert "reconstruction_bits_per_dim" in epochs_in(tokenizer / "metrics.csv")[0]
    assert not (tokenizer / "samples.png").exists()


OPTIONS = {
    "gated_pixel_cnn": {
        "--conditional": True,
        "--filters": 6,
        "--layers": 3,
        "--kernel-size": 5,
        "--first-kernel-size": 3,
        "--dropout": 0.5,
        "--value-embedding-dim": 4,
        "--class-embedding-dim": 5,
        "--output": "logistic",
    },
    "pixel_cnn": {"--value-embedding-dim": None, "--output": "logistic_mixture", "--components": 3},
    "pixelcnn_pp": {"--stages": 2, "--no-weight-norm": False, "--value-embedding-dim": 4},
    "vq_vae": {
        "--downsampling": 2,
        "--filters": 4,
        "--residual-blocks": 1,
        "--residual-filters": 3,
        "--codes": 6,
        "--code-dim": 3,
        "--decay": None,
        "--commitment-weight": 0.5,
        "--metric": "cosine",
        "--gradient": "rotation",
        "--initialization": "data",
        "--restart-below": None,
        "--entropy-weight": 0.5,
        "--entropy-temperature": 2.0,
    },
}


class Reached(Exception):
    """Where training would begin."""


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_arrives(monkeypatch: pytest.MonkeyPatch, pictures: Path, name: str) -> None:
    reached: dict[str, Any] = {}

    def begin(images: Any, model: Any, out: Any, options: Any, *others: Any, **named: Any) -> None:
        reached.update(model=model, options=options, built=build_model(images, model), **named)
        raise Reached

    monkeypatch.setattr("tfprior.training.train", begin)
    words: list[str] = []
    for option, value in OPTIONS[name].items():
        written = [] if isinstance(value, bool) else ["none" if value is None else str(value)]
        words += [option, *written]
    training = ["--weight-decay", "0.1", "--clip-norm", "2", "--validation-fraction", "0.2"]
    training += ["--validation-limit", "7", "--warmup-steps", "3", "--seed", "5", "--flip", "--xla", "on"]
    training += ["--minutes", "0.5", "--from", "elsewhere", "--precision", "mixed_bfloat16"]
    training += ["--checkpoint-minutes", "2", "--tokenizer", "there"]
    command = ["train", name, "--data", str(pictures), "--out", "nowhere", *words, *training]
    result = CliRunner().invoke(app, ["--debug", *command])
    assert isinstance(result.exception, Reached)
    assert reached["initial"] == Path("elsewhere")
    assert (reached["tokenizer"], reached["strategy"]) == (Path("there"), None)
    model = MODELS[name]
    spelled = {one: option.name for option in model.options.values() for one in spellings(option)}
    expected = {spelled[option]: value for option, value in OPTIONS[name].items()}
    assert reached["model"] == described(load(pictures), {"name": name, **expected})
    assert set(reached["model"]) == {"name", *model.options}
    assert reached["options"] == TrainingOptions(
        weight_decay=0.1,
        clip_norm=2.0,
        validation_fraction=0.2,
        validation_limit=7,
        checkpoint_minutes=2.0,
        warmup_steps=3,
        seed=5,
        flip=True,
        xla="on",
        minutes=0.5,
        precision="mixed_bfloat16",
    )
    given = reached["built"].get_config()
    for option in ("filters", "kernel_size", "num_stages", "residual_filters", "weight_norm"):
        if option in expected:
            assert given[option] == expected[option]


def test_without_a_name_it_is_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[Any] = []
    module = importlib.import_module("tfprior.cli.train")
    monkeypatch.setattr(module, "train_model", lambda *given: reached.append(given))
    run("train", "--data", "photos", "--filters", 5, "--out", "here")
    run("train", "gated_pixel_cnn", "--data", "photos", "--filters", 5, "--out", "here")
    assert reached[0] == reached[1]
    model, chosen, training, given = reached[0]
    assert (model.name, chosen["filters"], given["data"]) == ("gated_pixel_cnn", 5, "photos")
    assert TrainingOptions(**training) == TrainingOptions()


@pytest.mark.parametrize(("words", "size"), [([], None), (["32"], 32), (["32x48"], [32, 48])])
def test_image_sizes(monkeypatch: pytest.MonkeyPatch, words: list[str], size: Any) -> None:
    sizes: list[Any] = []

    def read(name_or_path: str, image_size: Any, num_levels: Any) -> None:
        sizes.append(image_size)
        raise Reached

    monkeypatch.setattr("tfprior.data.load", read)
    options = ["--image-size", *words] if words else []
    result = CliRunner().invoke(app, ["--debug", "train", *options, "--out", "nowhere"])
    assert isinstance(result.exception, Reached)
    assert sizes == [size]


def test_brackets_in_names_are_no_markup(data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "[red]runs" / "[b]x :smile:"
    copy = folder.parent / "[i]made.npz"
    folder.parent.mkdir()
    copy.write_bytes(data.read_bytes())
    printed = run("train", *TINY, "--data", copy, "--out", folder, "--epochs", 1, "--levels", 4)
    assert f"{folder}: curve.png" in printed
    assert f"{folder}: going on" not in printed
    assert "[i]made, test split, 10 images" in run("evaluate", folder)
    assert "[i]made (own)" in run("score", folder)
    assert f"{folder}/s.png: 4 samples" in run("sample", folder, "--num", 4, "--out", folder / "s.png")
    printed = run("compress", folder, "--num", 2, "--out", folder / "c.tfp")
    assert printed.count(f"{folder}/c.tfp") == 2
    assert f"{folder}/gone is no folder" in run("evaluate", folder / "gone", code=1)


def test_a_folder_is_decoded_once_and_evaluated_from_the_cache(tmp_path: Path) -> None:
    folder, out, cache = tmp_path / "images", tmp_path / "run", tmp_path / "cache"
    for index in range(30):
        save_image(folder / f"{index:02}.png", integers(6, 6, top=4))
    data = ["--data", folder, "--image-size", "4x5", "--levels", 4, "--cache", cache]
    run("train", *TINY, *data, "--out", out, "--epochs", 1)
    (shard,) = cache.glob("*/images-00000.npz")
    written = shard.stat().st_mtime_ns
    run("evaluate", out)
    assert shard.stat().st_mtime_ns == written
    assert load_run(out).config["data"]["cache"] == str(cache)
    said = run("train", *TINY, "--data", "digits", "--cache", cache, "--out", tmp_path / "other", code=2)
    assert "expected it for a folder of images only" in said


def test_codes_in_shards_are_data(tmp_path: Path) -> None:
    encode_dataset(Doubling(), integers(40, 4, 2, 1, top=4), tmp_path / "codes", shard_size=16)
    run("train", *TINY, "--data", tmp_path / "codes", "--out", tmp_path / "run", "--epochs", 1)
    config = load_run(tmp_path / "run").config
    assert (config["data"]["levels"], config["data"]["grid_shape"]) == (8, [4, 2, 1])
    assert config["data"]["images"] == 36
    assert "bits/code" in run("evaluate", tmp_path / "run")
