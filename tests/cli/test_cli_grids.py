"""A tokenizer of two grids of codes on the command line: a prior of each, and both as one model."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, rgb, run
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.data import load
from tfprior.generator import Generator
from tfprior.pictures import save_grid
from tfprior.runs import load_generator, load_prior, load_run, load_tokenizer

TWO_GRIDS = [
    *("vq_vae_2", "--codes", "6", "--code-dim", "3", "--downsampling", "2", "--filters", "4"),
    *("--residual-blocks", "1", "--batch-size", "8", "--learning-rate", "0.01"),
]


@pytest.fixture(scope="module")
def folder(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs tokenizer, top and bottom, and the codes of both grids."""
    folder = tmp_path_factory.mktemp("grids")
    tokenizer = folder / "tokenizer"
    printed = run("train", *TWO_GRIDS, "--data", pictures, "--out", tokenizer, "--epochs", 2)
    assert "reconstructions.png, codebook_usage.png" in printed
    printed = run("encode", tokenizer, "--out", folder / "codes.npz")
    assert "codes_0.npz: 60 training and 10 test grids, 2 × 1 × 1 of 6 codes" in printed
    assert "codes_1.npz: 60 training and 10 test grids, 4 × 2 × 1 of 6 codes" in printed
    assert not (folder / "codes.npz").exists()
    for index, name in enumerate(("top", "bottom")):
        printed = run(
            *("train", *TINY, "--data", folder / f"codes_{index}.npz", "--out", folder / name, "--epochs", 2)
        )
        assert "bits/code" in printed
    return folder


@pytest.mark.slow
def test_each_grid_is_a_data_set_and_the_finer_one_holds_the_coarser(folder: Path, pictures: Path) -> None:
    top, bottom = load(folder / "codes_0.npz"), load(folder / "codes_1.npz")
    images, tokenizer = load(pictures), load_tokenizer(folder / "tokenizer")
    for part in ("train", "test"):
        expected = tokenizer.encode(getattr(images, f"x_{part}"))
        np.testing.assert_array_equal(getattr(top, f"x_{part}"), expected[0])
        np.testing.assert_array_equal(getattr(bottom, f"x_{part}"), expected[1])
        np.testing.assert_array_equal(getattr(bottom, f"y_{part}"), expected[0])
        np.testing.assert_array_equal(getattr(top, f"y_{part}"), getattr(images, f"y_{part}"))
    assert (top.origin.grid, bottom.origin.grid, bottom.origin.num_grids) == (0, 1, 2)
    assert bottom.num_classes is None
    with np.load(folder / "codes_1.npz") as archive:
        assert archive["y_train"].dtype == np.uint8


def test_finer_codes_are_drawn_at_the_end(folder: Path, tmp_path: Path) -> None:
    words = run(
        *("train", *TINY, "--data", folder / "codes_1.npz", "--out", tmp_path / "run"),
        *("--pictures-every", 1),
        code=2,
    )
    assert "--pictures-every 1: a prior of finer codes is drawn once it is trained: leave it out." in words
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_both_runs_are_the_generator_of_their_models(folder: Path, tmp_path: Path) -> None:
    names = folder / "top", "--finer", folder / "bottom"
    expected = Generator(
        load_tokenizer(folder / "tokenizer"), [load_prior(folder / name) for name in ("top", "bottom")]
    )
    generator = load_generator(folder / "top", finer=[folder / "bottom"])
    drawn = expected.sample(6, seed=3)
    np.testing.assert_array_equal(generator.sample(6, seed=3), drawn)
    out = tmp_path / "s.png"
    run("sample", *names, "--num", 6, "--seed", 3, "--out", out, "--npz", tmp_path / "s.npz")
    save_grid(drawn, 4, tmp_path / "expected.png")
    np.testing.assert_array_equal(rgb(out), rgb(tmp_path / "expected.png"))
    with np.load(tmp_path / "s.npz") as archive:
        assert set(archive) == {"values", "codes_0", "codes_1"}
    assert "1 images, 2 completions" in run(
        *("complete", *names, "--num", 1, "--completions", 2, "--out", tmp_path / "c.png")
    )
    assert "pictures (own)" in run("score", *names)


def test_evaluate_gives_bits_per_code_and_the_bound_of_both(folder: Path, pictures: Path) -> None:
    bottom, tokenizer = load(folder / "codes_1.npz"), load_tokenizer(folder / "tokenizer")
    condition = np.asarray(tokenizer.condition_map(bottom.y_test.astype("int32")))
    nats = load_prior(folder / "bottom").log_prob(bottom.x_test, condition)
    bits = -nats.sum() / math.log(2) / bottom.x_test.size
    alone = CliRunner().invoke(app, ["evaluate", str(folder / "bottom")])
    assert alone.exit_code == 0
    assert f"{bits:.4f}" in alone.stdout
    assert "is the prior of grid 1 of 2; the bound takes all" in alone.stderr
    generator = load_generator(folder / "top", finer=[folder / "bottom"])
    bound = generator.bits_per_dim(load(pictures).x_test).mean()
    printed = run("evaluate", folder / "top", "--finer", folder / "bottom")
    assert "these priors and their tokenizer" in printed
    assert f"{bound:.4f}" in printed


def test_what_is_validated_on_is_conditioned_too(folder: Path) -> None:
    finished = load_run(folder / "bottom")
    printed = run("evaluate", finished.path, "--split", "validation")
    assert f"{finished.best_score:.4f}" in printed
    card = finished.file("model_card.md").read_text()
    assert "A prior, given the coarser codes, over 4 × 2 × 1 grids" in card
    assert 'load_generator("coarsest", finer=["bottom"])' in card
    assert "1 of 2, given the coarser codes" in run("info", finished.path)


@pytest.mark.slow
@pytest.mark.xla
def test_compressed_images_come_back(folder: Path, pictures: Path, tmp_path: Path) -> None:
    names = folder / "top", "--finer", folder / "bottom"
    file, archive = tmp_path / "images.tfp", tmp_path / "images.npz"
    run("compress", *names, "--out", file)
    run("decompress", folder / "top", file, "--finer", folder / "bottom", "--out", archive)
    with np.load(archive) as images:
        np.testing.assert_array_equal(images["images"], load(pictures).x_test)


@pytest.mark.slow
def test_both_are_exported_as_one_bundle(folder: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    run("export", folder / "top", bundle, "--finer", folder / "bottom", "--format", "onnx")
    assert "6 codes" in run("info", bundle)
    run("sample", bundle, "--num", 2, "--out", tmp_path / "s.png")
    printed = run("sample", bundle, "--finer", folder / "bottom", "--out", tmp_path / "s.png", code=2)
    assert "--finer: a bundle has all of its priors inside" in printed


@pytest.mark.slow
def test_a_run_goes_on_and_starts_from_another(folder: Path, tmp_path: Path) -> None:
    codes, out = folder / "codes_1.npz", tmp_path / "bottom"
    shutil.copytree(folder / "bottom", out)
    assert "epoch 3/3" in run("train", *TINY, "--data", codes, "--out", out, "--epochs", 3)
    fine = tmp_path / "fine"
    run("train", *TINY, "--data", codes, "--out", fine, "--epochs", 1, "--from", folder / "bottom")
    assert load_run(fine).config["initial"]["path"] == str((folder / "bottom").resolve())


def test_what_does_not_belong_together_is_refused(folder: Path, of_codes: Path, tmp_path: Path) -> None:
    top, bottom, out = folder / "top", folder / "bottom", ("--out", tmp_path / "s.png")
    assert "name the runs coarse to fine: RUN --finer RUN" in run("sample", bottom, *out, code=1)
    assert "name those of the finer ones too: --finer RUN" in run("sample", top, *out, code=1)
    swapped = run("sample", bottom, "--finer", top, *out, code=1)
    assert f"{bottom} is the prior of grid 1 of 2" in swapped
    assert "different tokenizers' codes" in run("sample", of_codes, "--finer", bottom, *out, code=1)
    assert "expected (4, 2, 1)" in run("evaluate", bottom, "--data", folder / "codes_0.npz", code=1)
    printed = run(
        *("train", *TINY, "--data", folder / "codes_1.npz", "--out", tmp_path / "new", "--conditional"),
        code=1,
    )
    assert "conditioned on coarser ones, not on classes" in printed
    assert not (tmp_path / "s.png").exists()
    assert not (tmp_path / "new").exists()


def test_a_tokenizer_that_moved_or_changed(folder: Path, tokenizer: Path, tmp_path: Path) -> None:
    moved = tmp_path / "bottom"
    shutil.copytree(folder / "bottom", moved)
    config = json.loads((moved / "config.json").read_text())
    config["data"]["codes_of"]["tokenizer"] = str(tmp_path / "gone")
    (moved / "config.json").write_text(json.dumps(config))
    with np.load(folder / "codes_1.npz") as archive:
        arrays = dict(archive)
    for name, words in (("gone", "is no longer there"), (tokenizer, "is not the tokenizer of")):
        codes = tmp_path / "codes.npz"
        np.savez(codes, **{**arrays, "tokenizer": str(tmp_path / name)})
        printed = run("train", *TINY, "--data", codes, "--out", tmp_path / "new", code=1)
        assert words in printed
        assert not (tmp_path / "new").exists()
    run(
        *("train", *TINY, "--data", codes, "--tokenizer", folder / "tokenizer"),
        *("--out", tmp_path / "new", "--epochs", 1),
    )
    names = folder / "top", "--finer", moved, "--num", 1, "--out", tmp_path / "s.png"
    run("sample", *names, "--tokenizer", folder / "tokenizer")
    assert "is not the tokenizer of" in run("sample", *names, "--tokenizer", tokenizer, code=1)
