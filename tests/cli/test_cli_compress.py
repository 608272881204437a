"""`tfprior compress` and `decompress`."""

from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, run

from tfprior.runs import load_prior


@pytest.mark.slow("[4]")
@pytest.mark.xla
@pytest.mark.parametrize("num", [None, 4])
def test_compressed_images_come_back_whole(
    trained: Path, data: Path, tmp_path: Path, num: int | None
) -> None:
    file, archive = tmp_path / "images.tfp", tmp_path / "images.npz"
    printed = run("compress", trained, "--out", file, *([] if num is None else ["--num", num]))
    count = num or 10
    size = file.stat().st_size
    assert f"{file}: {count} images in {size:,} bytes, {count / 8:.0f} of them for labels, " in printed
    for line in (str(file), "the likelihood of its images", "PNG (", "WebP ("):
        assert line in printed
    assert f"{8 * size / count / 20:.4f}" in printed
    with np.load(data) as given:
        values, labels = given["x_test"][:num], given["y_test"][:num]
    bits = float(np.sum(load_prior(trained).bits_per_dim(values, labels))) * 20
    assert f"{bits / 8:,.0f}" in printed
    assert size <= 1.01 * bits / 8 + 64 + count / 8
    assert f"{archive}: {count} images and their labels" in run("decompress", trained, file, "--out", archive)
    with np.load(archive) as found:
        assert found["images"].dtype == "uint8"
        np.testing.assert_array_equal(found["images"], values)
        np.testing.assert_array_equal(found["labels"], labels)


def test_compressed_files_know_their_prior(trained: Path, data: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "images.tfp", tmp_path / "images.npz"
    run("compress", trained, "--out", file, "--num", 2)
    other = tmp_path / "other"
    run("train", *TINY, "--data", data, "--out", other, "--epochs", 1, "--conditional", "--levels", 4)
    assert "of other weights" in run("decompress", other, file, "--out", out, code=1)
    assert "missing.tfp: No such file" in run(
        "decompress", trained, tmp_path / "missing.tfp", "--out", out, code=1
    )
    assert "begin with b'PK" in run("decompress", trained, data, "--out", out, code=1)
    assert "expected a name that ends in .npz" in run("decompress", trained, file, "--out", file, code=2)
    assert not out.exists()


@pytest.mark.xla
def test_a_prior_of_codes_compresses_images(
    of_codes: Path, tokenizer: Path, pictures: Path, tmp_path: Path
) -> None:
    file, archive = tmp_path / "images.tfp", tmp_path / "images.npz"
    assert "pictures, test split" in run("compress", of_codes, "--out", file)
    assert "10 images and their labels" in run("decompress", of_codes, file, "--out", archive)
    with np.load(archive) as found, np.load(pictures) as given:
        np.testing.assert_array_equal(found["images"], given["x_test"])
        np.testing.assert_array_equal(found["labels"], given["y_test"])
    assert "is a tokenizer; train a prior" in run("compress", tokenizer, "--out", file, code=1)
