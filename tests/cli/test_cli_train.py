"""`tfprior train`: folders it fills, and the options of each model."""

from pathlib import Path

import numpy as np
from command_line import epochs_in, rgb, run

from tfprior.runs import load_prior, load_run, load_tokenizer


def test_train_fills_a_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "best.keras", "last.keras", "metrics.csv", "curve.png", "samples.png"} <= names
    assert "Use it" in (trained / "model_card.md").read_text()
    config = load_run(trained).config
    assert config["model"]["conditional"] is True
    assert config["data"]["levels"] == 4
    assert config["data"]["grid_shape"] == [4, 5, 1]


def test_pixelcnn_pp_goes_the_whole_way(pictures: Path, tmp_path: Path) -> None:
    folder, picture = tmp_path / "run", tmp_path / "samples.png"
    network = ["pixelcnn_pp", "--stages", 2, "--components", 2, "--filters", 4, "--layers", 1]
    options = ["--epochs", 2, "--batch-size", 8, "--flip", "--ema", 0.5, "--levels", 4, "--no-xla"]
    run("train", *network, "--data", pictures, "--out", folder, *options)
    prior = load_prior(folder / "best.keras")
    assert (prior.num_stages, prior.distribution.num_components) == (2, 2)
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
