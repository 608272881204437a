"""Data, runs and a bundle that the tests of the command line share."""

from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, VQ_VAE, run


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright images of class 1 and dark ones of class 0, 4 × 5 of 4 levels."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "made.npz"
    labels = {"y_train": np.arange(60) % 2, "y_test": np.arange(10) % 2}
    values = {
        f"x{name[1:]}": (rng.integers(2, size=(len(label), 4, 5, 1)) + 2 * label[:, None, None, None])
        for name, label in labels.items()
    }
    np.savez(path, **{name: value.astype("uint8") for name, value in values.items()}, **labels)
    return path


@pytest.fixture(scope="session")
def trained(data: Path) -> Path:
    out = data.parent / "run"
    options = ["--epochs", 12, "--learning-rate", 0.02, "--conditional", "--ema", 0.5, "--levels", 4]
    printed = run("train", *TINY, "--data", data, "--out", out, *options)
    assert "epoch 12/12" in printed
    assert "this prior" in printed
    return out


@pytest.fixture(scope="session")
def bundle(trained: Path) -> Path:
    out = trained.parent / "bundle"
    printed = run("export", trained, out, "--format", "onnx")
    assert "onnx/step.onnx" in printed
    assert "state_out" in printed
    return out


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As above, 8 × 4: a size that can be halved."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("pictures") / "pictures.npz"
    labels = {"y_train": np.arange(60) % 2, "y_test": np.arange(10) % 2}
    values = {
        f"x{name[1:]}": (rng.integers(2, size=(len(label), 8, 4, 1)) + 2 * label[:, None, None, None])
        for name, label in labels.items()
    }
    arrays = {name: value.astype("uint8") for name, value in values.items()}
    np.savez(path, **arrays, **labels, num_levels=4)
    return path


@pytest.fixture(scope="session")
def tokenizer(pictures: Path) -> Path:
    out = pictures.parent / "tokenizer"
    options = ["--residual-blocks", 1, "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.01]
    printed = run("train", *VQ_VAE, "--data", pictures, "--out", out, *options)
    assert "perplexity" in printed
    assert "this tokenizer (epoch" in printed
    assert "reconstructions.png, codebook_usage.png" in printed
    return out


@pytest.fixture(scope="session")
def codes(tokenizer: Path) -> Path:
    out = tokenizer.parent / "codes.npz"
    printed = run("encode", tokenizer, "--out", out)
    assert "60 training and 10 test grids, 4 × 2 × 1 of 6 codes" in printed
    return out


@pytest.fixture(scope="session")
def of_codes(codes: Path) -> Path:
    """A prior of codes."""
    out = codes.parent / "prior"
    printed = run("train", *TINY, "--data", codes, "--out", out, "--conditional", "--epochs", 2)
    assert "bits/code" in printed
    assert "PNG" not in printed
    assert "shades of grey" not in printed
    return out
