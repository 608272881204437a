"""`tfprior encode` and `reconstruct`, and runs on codes whose tokenizer moved."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import rgb, run
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.data import CodesOrigin, load, split_of, spread
from tfprior.pictures import save_reconstructions
from tfprior.runs import load_run, load_tokenizer
from tfprior.runs.checkpoint import written_together


def test_encode_writes_codes_that_know_where_they_come_from(
    tokenizer: Path, codes: Path, pictures: Path, tmp_path: Path
) -> None:
    model, images, loaded = load_tokenizer(tokenizer), load(pictures), load(codes)
    with np.load(codes, allow_pickle=False) as archive:
        assert archive["x_train"].dtype == np.uint8
        np.testing.assert_array_equal(archive["x_train"], model.encode(images.x_train))
        np.testing.assert_array_equal(archive["x_test"], model.encode(images.x_test))
    assert loaded.are_codes
    assert loaded.num_levels == 6
    np.testing.assert_array_equal(loaded.y_train, images.y_train)
    source = {"name_or_path": str(pictures.resolve()), "image_size": None, "num_levels": None}
    assert loaded.origin == CodesOrigin(str(tokenizer.resolve()), model.weights_digest(), source)
    few = tmp_path / "few.npz"
    np.savez(few, x_train=images.x_train[:5], x_test=images.x_test[:2])
    run("encode", tokenizer, "--data", few, "--levels", 4, "--out", tmp_path / "c.npz")
    loaded = load(tmp_path / "c.npz")
    np.testing.assert_array_equal(loaded.x_test, model.encode(images.x_test[:2]))
    assert loaded.y_train is None
    assert loaded.origin.images == {"name_or_path": str(few), "image_size": None, "num_levels": 4}


def test_reconstruct_shows_what_is_left(tokenizer: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.png"
    printed = run("reconstruct", tokenizer, "--num", 4, "--split", "train", "--columns", 2, "--out", out)
    assert "4 images above their reconstructions" in printed
    values, labels = split_of(load(pictures), "train", load_run(tokenizer).config["options"])
    some = values[spread(labels, len(values))[:4]]
    expected = tmp_path / "expected.png"
    save_reconstructions(some, load_tokenizer(tokenizer).reconstruct(some), 4, expected, columns=2)
    np.testing.assert_array_equal(rgb(out), rgb(expected))


@pytest.mark.slow
def test_a_tokenizer_that_moved_or_changed(of_codes: Path, tokenizer: Path, tmp_path: Path) -> None:
    prior, other = tmp_path / "prior", tmp_path / "other"
    shutil.copytree(of_codes, prior)
    config = json.loads((prior / "config.json").read_text())
    config["data"]["codes_of"]["tokenizer"] = str(tmp_path / "gone")
    (prior / "config.json").write_text(json.dumps(config))
    picture = tmp_path / "s.png"
    assert "gone, the tokenizer of" in run("sample", prior, "--out", picture, code=1)
    result = CliRunner().invoke(app, ["evaluate", str(prior)])
    assert result.exit_code == 0
    assert "Bits per code alone: " in result.stderr
    assert "this prior and its tokenizer" not in result.stdout
    result = CliRunner().invoke(app, ["evaluate", str(prior), "--maps", str(picture)])
    assert "does not tell the images of its codes" in result.stderr
    assert not picture.exists()
    assert "this prior and its tokenizer" in run("evaluate", prior, "--tokenizer", tokenizer)
    run("sample", prior, "--num", 2, "--out", picture, "--tokenizer", tokenizer)
    run("complete", prior, "--num", 1, "--out", picture, "--tokenizer", tokenizer)
    shutil.copytree(tokenizer, other)
    model = load_tokenizer(other)
    model.quantizer._codebook.assign(2 * model.quantizer._codebook)
    with written_together(other, ["best.keras"], epoch=1) as files:
        model.save(files["best.keras"])
    for command in ("sample", "evaluate", "complete"):
        printed = run(command, of_codes, "--tokenizer", other, code=1)
        assert f"{other} is not the tokenizer of {of_codes}: its weights are not those" in printed
    changed = tmp_path / "changed.npz"
    run("encode", other, "--out", changed)
    assert "holds codes of another tokenizer" in run("evaluate", of_codes, "--data", changed, code=1)
