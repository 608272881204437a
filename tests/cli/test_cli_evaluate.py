"""`tfprior evaluate` and `score`: the numbers they print."""

import math
from pathlib import Path

import numpy as np
import pytest
from command_line import epochs_in, rgb, run

from tfprior.data import load, split_of, spread
from tfprior.measuring import baseline_bits, scores_of
from tfprior.measuring.outliers import OutlierScores, auroc, outlier_scores
from tfprior.pictures import save_heat_maps
from tfprior.runs import load_generator, load_prior, load_run, load_tokenizer
from tfprior.runs.run_folder import RunFolder


@pytest.mark.parametrize("split", ["test", "train", "validation"])
def test_evaluate_prints_exact_bits_beside_the_baselines(trained: Path, data: Path, split: str) -> None:
    printed = run("evaluate", trained, "--split", split)
    assert f"made, {split} split" in printed
    assert "2.0000" in printed  # uniform over four levels
    if split != "test":
        folder = load_run(trained)
        images = load(data, num_levels=4)
        seen, _ = split_of(images, "train", folder.config["options"])
        assert len(seen) < len(images.x_train)
        values, labels = split_of(images, split, folder.config["options"])
        for number in baseline_bits(seen, values, 4).values():
            assert f"{number:.4f}" in printed
        return
    with np.load(data) as archive:
        values, labels, train = archive["x_test"], archive["y_test"], archive["x_train"]
    bits = float(np.mean(load_run(trained).load().bits_per_dim(values, labels)))
    assert f"{bits:.4f}" in printed
    assert bits < 1.3
    for name, number in baseline_bits(train, values, 4).items():
        assert name in printed
        assert f"{number:.4f}" in printed


@pytest.mark.parametrize(("of", "split"), [("trained", "test"), ("tokenizer", "train"), ("of_codes", "test")])
def test_evaluate_draws_where_the_bits_are(
    request: pytest.FixtureRequest, tmp_path: Path, of: str, split: str
) -> None:
    folder = load_run(request.getfixturevalue(of))
    out, expected = tmp_path / "maps.png", tmp_path / "expected.png"
    printed = run("evaluate", folder.path, "--split", split, "--maps", out, "--num", 6)
    assert f"{out}: 6 images above the bits of their pixels" in printed
    model = load_generator(folder.path) if of == "of_codes" else folder.load()
    source = folder.codes_origin.images if of == "of_codes" else {"name_or_path": data_of(folder)}
    values, labels = split_of(load(**{"num_levels": 4, **source}), split, folder.config["options"])
    chosen = spread(labels, len(values))[:6]
    nats = np.asarray(model.pixel_log_prob(values[chosen], *([labels[chosen]] if model.num_classes else [])))
    save_heat_maps(values[chosen], -nats / math.log(2), 4, expected)
    np.testing.assert_array_equal(rgb(out), rgb(expected))


def data_of(folder: RunFolder) -> str:
    return str(folder.config["data"]["name_or_path"])


def test_evaluate_measures_a_tokenizer(tokenizer: Path, pictures: Path) -> None:
    images = load(pictures)
    scores = scores_of(load_tokenizer(tokenizer), images.x_test)
    printed = run("evaluate", tokenizer)
    assert "this tokenizer, uniform codes" in printed
    assert f"{scores['bits_per_dim']:.4f}" in printed
    facts = {
        "bits/dim of the images given their codes": "reconstruction_bits_per_dim",
        "perplexity of the codes": "perplexity",
        "share of codes in use": "usage",
        "codes that are never used": "dead_codes",
    }
    rows = [[cell.strip() for cell in line.split("│")[1:3]] for line in printed.splitlines()]
    for words, name in facts.items():
        assert [words, f"{scores[name]:.4g}"] in rows
    for number in baseline_bits(images.x_train, images.x_test, 4).values():
        assert f"{number:.4f}" in printed
    assert "pictures, validation split" in run("evaluate", tokenizer, "--split", "validation")


@pytest.mark.parametrize("split", ["test", "validation"])
def test_evaluate_measures_codes_and_the_images_they_stand_for(
    of_codes: Path, codes: Path, pictures: Path, split: str
) -> None:
    printed = run("evaluate", of_codes, "--split", split)
    options = load_run(of_codes).config["options"]
    values, labels = split_of(load(codes), split, options)
    images, _ = split_of(load(pictures), split, options)
    generator = load_generator(of_codes)
    np.testing.assert_array_equal(generator.tokenizer.encode(images), values)
    bits = float(np.mean(load_prior(of_codes).bits_per_dim(values, labels)))
    bound = float(np.mean(generator.bits_per_dim(images, labels)))
    uniform = scores_of(generator.tokenizer, images)["bits_per_dim"]
    for number in (bits, math.log2(6), bound, uniform):
        assert f"{number:.4f}" in printed
    assert printed.count("PNG") == 1


def scored(source: Path, values: np.ndarray) -> OutlierScores:
    model = load_prior(source)
    return outlier_scores(model, values).per_dim(math.prod(model.grid_shape))


def test_score_compares_its_own_images_with_others(trained: Path, data: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    other, out = tmp_path / "noise.npz", tmp_path / "scores.csv"
    noise = rng.integers(4, size=(30, 4, 5, 1)).astype("uint8")
    np.savez(other, x_train=noise[:1], x_test=noise[1:])
    printed = run("score", trained, "--data", other, "--levels", 4, "--out", out)
    with np.load(data) as archive:
        own, labels = scored(trained, archive["x_test"]), archive["y_test"]
    others = scored(trained, noise[1:])
    for part, name in ((own, "made (own)"), (others, "noise (other)")):
        assert name in printed
        assert all(f"{numbers.mean():.4f}" in printed for numbers in part)
    assert "AUROC" in printed
    for name in ("bits", "score"):
        assert f"{auroc(getattr(own, name), getattr(others, name)):.4f}" in printed
    rows = epochs_in(out)
    assert [row["set"] for row in rows] == ["own"] * 10 + ["other"] * 29
    assert [row["index"] for row in rows] == [str(place) for place in (*range(10), *range(29))]
    assert [row["label"] for row in rows] == [*map(str, labels), *[""] * 29]
    for column, name in (("bits_per_dim", "bits"), ("complexity", "complexity"), ("score", "score")):
        expected = np.concatenate([getattr(own, name), getattr(others, name)])
        np.testing.assert_allclose([float(row[column]) for row in rows], expected, rtol=1e-7)


def test_score_takes_some_of_its_own_images(trained: Path, of_codes: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    printed = run("score", trained, "--num", 4, "--out", out)
    assert f"{out}: 4 images" in printed
    assert "AUROC" not in printed
    assert [row["index"] for row in epochs_in(out)] == ["0", "1", "2", "3"]
    generator = load_generator(of_codes)
    images = load(**load_run(of_codes).codes_origin.images)
    expected = outlier_scores(generator, images.x_test).per_dim(32)
    printed = run("score", of_codes)
    assert all(f"{numbers.mean():.4f}" in printed for numbers in expected)
