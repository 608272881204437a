"""`tfprior bulk`: folders of shards from runs and bundles."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from command_line import run

from tfprior.bulk import read_index
from tfprior.data import ShardedCodes, load
from tfprior.measuring import outlier_scores
from tfprior.runs import load_prior, load_tokenizer


def test_encode(tokenizer: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "codes"
    arguments = ["bulk", "encode", tokenizer, "--data", pictures, "--out", out, "--shard-size", 16]
    printed = run(*arguments)
    size = sum(file.stat().st_size for file in out.glob("codes-*.npz"))
    assert printed == f"{out}: 60 grids of codes in 4 shards, {size:,} bytes\n"
    images, model, codes = load(pictures), load_tokenizer(tokenizer), ShardedCodes(out)
    np.testing.assert_array_equal(codes.arrays()["values"], model.encode(images.x_train))
    np.testing.assert_array_equal(codes.arrays()["condition"], images.y_train)
    told = json.loads((out / "codes.json").read_text())
    assert told["tokenizer"] == model.weights_digest()
    before = read_index(out)
    assert run(*arguments) == printed
    assert read_index(out) == before
    assert "with another part, num" not in run(*arguments, "--part", "test", code=1)
    printed = run("bulk", "encode", tokenizer, "--data", pictures, "--out", tmp_path / "t", "--part", "test")
    assert "10 grids of codes in 1 shards" in printed


def test_classes_of_a_bundle_go_by_their_names(prior_bundle: Path, tmp_path: Path) -> None:
    labels = {}
    for asked in ("odd", 1):
        out = tmp_path / str(asked)
        run("bulk", "sample", prior_bundle, "--num", 2, "--class", asked, "--seed", 3, "--out", out)
        with np.load(out / "samples-00000.npz") as found:
            labels[asked] = found["labels"].tolist(), found["values"].tolist()
    assert labels["odd"] == labels[1]
    assert labels[1][0] == [1, 1]
    faulty = run(
        "bulk", "sample", prior_bundle, "--num", 2, "--class", "cat", "--out", tmp_path / "b", code=2
    )
    assert "expected a class in [0, 1] or one of even, odd" in faulty


def test_sample(trained: Path, bundle: Path, tmp_path: Path) -> None:
    arguments = ["--num", 9, "--class", 1, "--seed", 3, "--shard-size", 4, "--batch-size", 2]
    for model in (trained, bundle):
        out = tmp_path / model.name
        assert f"{out}: 9 samples in 3 shards, " in run("bulk", "sample", model, "--out", out, *arguments)
    parts = []
    for index in range(3):
        with np.load(tmp_path / "run" / f"samples-{index:05}.npz") as found:
            parts.append(found["values"])
            np.testing.assert_array_equal(found["labels"], [1] * len(found["values"]))
            with np.load(tmp_path / "bundle" / f"samples-{index:05}.npz") as of_bundle:
                np.testing.assert_array_equal(of_bundle["values"], found["values"])
    np.testing.assert_array_equal(np.concatenate(parts), load_prior(trained).sample(9, [1] * 9, seed=3))


def test_score(trained: Path, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores"
    run("bulk", "score", trained, "--data", data, "--levels", 4, "--out", out, "--part", "test")
    with (out / "scores-00000.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    images = load(data, num_levels=4)
    expected = outlier_scores(load_prior(trained), images.x_test).per_dim(20)
    assert [int(row["label"]) for row in rows] == images.y_test.tolist()
    np.testing.assert_allclose([float(row["score"]) for row in rows], expected.score, rtol=1e-5)


@pytest.mark.xla
def test_compress(trained: Path, data: Path, tmp_path: Path) -> None:
    out, back = tmp_path / "compressed", tmp_path / "back.npz"
    printed = run(
        "bulk", "compress", trained, "--data", data, "--out", out, "--part", "test", "--shard-size", 6
    )
    assert "10 images in 2 shards" in printed
    run("decompress", trained, out / "images-00001.tfp", "--out", back)
    with np.load(back) as found, np.load(data) as given:
        np.testing.assert_array_equal(found["images"], given["x_test"][6:])
        np.testing.assert_array_equal(found["labels"], given["y_test"][6:])


def test_levels_of_data_are_those_of_load(trained: Path, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(16, size=(7, 4, 5, 1), dtype="uint8")
    np.savez(tmp_path / "images.npz", x_train=values, num_levels=16)
    arguments = ["bulk", "score", trained, "--data", tmp_path / "images.npz", "--out", tmp_path / "out"]
    assert "has grids (4, 5, 1) of 16 levels; expected (4, 5, 1) of 4" in run(*arguments, code=1)
    assert not (tmp_path / "out").exists()
    run(*arguments, "--levels", 4)
    with (tmp_path / "out" / "scores-00000.csv").open(newline="") as stream:
        found = [float(row["bits_per_dim"]) for row in csv.DictReader(stream)]
    expected = outlier_scores(load_prior(trained), values // 4).per_dim(20).bits
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--workers", "2", "--scheduler", "tcp://x:1"], 2, "--workers: a scheduler has workers of its own"),
        (["--scheduler", "tcp://127.0.0.1:1"], 1, "No scheduler answers at tcp://127.0.0.1:1"),
        (["--scheduler", "x"], 2, "--scheduler x is no address"),
        (["--class", "2"], 2, "--class 2: expected a class in [0, 1]"),
        (["--top-k", "9"], 2, "--top-k 9: expected an integer in [1, 4]"),
        (["--shard-size", "0"], 2, "--shard-size"),
    ],
)
def test_wrong_options(arguments: list[str], code: int, message: str, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert message in run("bulk", "sample", trained, "--num", 4, "--out", out, *arguments, code=code)
    assert not out.exists()


def test_the_missing_package_is_named(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    arguments = ["bulk", "sample", trained, "--num", 4, "--out", tmp_path / "out"]
    assert "distributed is not installed; get it with: pip install 'tfprior[bulk]'" in run(
        *arguments, "--workers", 2, code=1
    )
    assert "4 samples in 1 shards" in run(*arguments)


def test_bundles_do_not_compress(bundle: Path, data: Path, tmp_path: Path) -> None:
    arguments = ["bulk", "compress", bundle, "--data", data, "--out", tmp_path / "out"]
    assert "is a bundle, which does not compress" in run(*arguments, code=1)
