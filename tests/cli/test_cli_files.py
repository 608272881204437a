"""Models in .keras files, where commands take runs: they bring no data of their own."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import epochs_in, rgb, run


@pytest.fixture
def file(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained / "best.keras", tmp_path / "model.keras"))


def test_evaluate_and_score_measure_a_file(file: Path, trained: Path, data: Path, tmp_path: Path) -> None:
    own = ["--data", data, "--levels", 4]
    assert run("evaluate", file, *own) == run("evaluate", trained)
    assert run("evaluate", file, *own, "--maps", tmp_path / "file.png").endswith("of their pixels\n")
    run("evaluate", trained, "--maps", tmp_path / "run.png")
    np.testing.assert_array_equal(rgb(tmp_path / "file.png"), rgb(tmp_path / "run.png"))
    for source, options in ((file, own), (trained, [])):
        run("score", source, *options, "--out", tmp_path / f"{source.name}.csv")
    rows = [epochs_in(tmp_path / f"{source.name}.csv") for source in (file, trained)]
    assert [{**row, "set": ""} for row in rows[0]] == [{**row, "set": ""} for row in rows[1]]
    assert {row["set"] for row in rows[0]} == {"other"}


@pytest.mark.slow
@pytest.mark.xla
def test_complete_compress_and_export_take_a_file(
    file: Path, trained: Path, data: Path, tmp_path: Path
) -> None:
    own = ["--data", data, "--levels", 4]
    for source, options in ((file, own), (trained, [])):
        run(
            "complete",
            source,
            *options,
            "--num",
            2,
            "--mask",
            "left",
            "--out",
            tmp_path / f"{source.name}.png",
        )
        run("compress", source, *options, "--num", 2, "--out", tmp_path / f"{source.name}.tfp")
    np.testing.assert_array_equal(rgb(tmp_path / "model.keras.png"), rgb(tmp_path / f"{trained.name}.png"))
    assert (tmp_path / "model.keras.tfp").read_bytes() == (tmp_path / f"{trained.name}.tfp").read_bytes()
    run("decompress", file, tmp_path / f"{trained.name}.tfp", "--out", tmp_path / "images.npz")
    printed = run("export", file, tmp_path / "bundle", "--format", "onnx", "--weights", "int8")
    assert "step.onnx" in printed
    assert re.search(r"int8, [+-]0\.\d{4} bits/dim on its own samples", printed)


@pytest.mark.slow
def test_a_tokenizer_and_its_prior_as_files(
    tokenizer: Path, of_codes: Path, codes: Path, pictures: Path, tmp_path: Path
) -> None:
    prior = Path(shutil.copy(of_codes / "best.keras", tmp_path / "prior.keras"))
    inner = Path(shutil.copy(tokenizer / "best.keras", tmp_path / "tokenizer.keras"))
    assert "bits/code" in run("evaluate", prior, "--data", codes)
    both = ["--tokenizer", inner]
    assert run("evaluate", prior, *both, "--data", codes) == run("evaluate", of_codes)
    assert run("evaluate", inner, "--data", pictures) == run("evaluate", tokenizer)
    assert "bits/dim" in run("score", prior, *both, "--data", pictures)
    run("encode", inner, "--data", pictures, "--out", tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz") as ours, np.load(codes) as theirs:
        np.testing.assert_array_equal(ours["x_test"], theirs["x_test"])
    run("reconstruct", inner, "--data", pictures, "--out", tmp_path / "r.png", "--num", 2)
    assert "does not tell its data; name them: --data" in run(
        "encode", inner, "--out", tmp_path / "c.npz", code=2
    )
    printed = run("complete", prior, *both, "--out", tmp_path / "c.png", code=2)
    assert "prior.keras does not tell the images of its codes; name them: --data" in printed
