"""The command line: what commands write and say, their errors in one sentence, and a run that was killed."""

import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tfprior.cli import app, sentence
from tfprior.cli.opening import whole_path
from tfprior.data import CodesOrigin, load
from tfprior.measuring import baseline_bits, scores_of, split_of
from tfprior.measuring.outliers import OutlierScores, auroc, outlier_scores
from tfprior.pictures import save_grid, save_heat_maps, save_reconstructions
from tfprior.runs import load_generator, load_prior, load_run, load_tokenizer
from tfprior.runs.run_folder import RunFolder
from tfprior.training.completion import spread

COMMANDS = (
    *("train", "evaluate", "score", "sample", "complete", "compress", "decompress"),
    *("encode", "reconstruct", "export", "verify", "info"),
)
TINY = ["--model", "pixel_cnn", "--filters", "4", "--layers", "1", "--batch-size", "8", "--no-xla"]
VQ_VAE = ["--model", "vq_vae", "--codes", "6", "--code-dim", "3", "--downsampling", "2", "--filters", "4"]


def run(*args: Any, code: int = 0) -> str:
    """Runs the command and gives what it printed: on stdout when it went well, on stderr when it did not."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    if code:
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        return result.stderr
    return result.stdout


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    out = data.parent / "run"
    options = ["--epochs", 12, "--learning-rate", 0.02, "--conditional", "--ema", 0.5, "--levels", 4]
    printed = run("train", "--data", data, "--out", out, *TINY, *options)
    assert "epoch 12/12" in printed
    assert "this prior" in printed
    return out


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Path:
    out = trained.parent / "bundle"
    printed = run("export", trained, out, "--format", "onnx")
    assert "onnx/step.onnx" in printed
    assert "state_out" in printed
    return out


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def tokenizer(pictures: Path) -> Path:
    out = pictures.parent / "tokenizer"
    options = ["--residual-blocks", 1, "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.01, "--no-xla"]
    printed = run("train", "--data", pictures, "--out", out, *VQ_VAE, *options)
    assert "perplexity" in printed
    assert "this tokenizer (epoch" in printed
    assert "reconstructions.png, codebook_usage.png" in printed
    return out


@pytest.fixture(scope="module")
def codes(tokenizer: Path) -> Path:
    out = tokenizer.parent / "codes.npz"
    printed = run("encode", tokenizer, "--out", out)
    assert "60 training and 10 test grids, 4 × 2 × 1 of 6 codes" in printed
    return out


@pytest.fixture(scope="module")
def of_codes(codes: Path) -> Path:
    """A prior of codes."""
    out = codes.parent / "prior"
    printed = run("train", "--data", codes, "--out", out, *TINY, "--conditional", "--epochs", 2)
    assert "bits/code" in printed
    assert "PNG" not in printed
    assert "shades of grey" not in printed
    return out


# Help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    assert f"tfprior {command} " in run(command, "--help")


def test_help_names_every_command() -> None:
    printed = run("--help")
    assert all(command in printed for command in COMMANDS)
    assert run("--version").startswith("tfprior ")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tfprior.cli import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# Commands -------------------------------------------------------------------------------------------------


def test_train_fills_a_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "best.keras", "last.keras", "metrics.csv", "curve.png", "samples.png"} <= names
    assert "Use it" in (trained / "model_card.md").read_text()
    config = load_run(trained).config
    assert config["model"]["conditional"] is True
    assert config["data"]["levels"] == 4
    assert config["data"]["grid_shape"] == [4, 5, 1]


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


def test_sample_draws_the_classes_asked_for(trained: Path, tmp_path: Path) -> None:
    picture, archive = tmp_path / "s.png", tmp_path / "s.npz"
    options = ["--class", 1, "--class", 0, "--num", 32, "--out", picture, "--npz", archive]
    run("sample", trained, *options)
    with np.load(archive) as saved:
        values, labels = saved["values"], saved["labels"]
    assert values.shape == (32, 4, 5, 1)
    assert values.dtype == np.int32
    np.testing.assert_array_equal(labels, np.repeat([1, 0], 16))
    assert values[:16].mean() > values[16:].mean() + 1  # the bright ones
    again = tmp_path / "again.npz"
    run("sample", trained / "best.keras", *options[:-1], again, "--method", "full")
    with np.load(again) as saved:
        np.testing.assert_array_equal(saved["values"], values)
    other = tmp_path / "other.npz"
    run("sample", trained, *options[:-1], other, "--seed", 1, "--temperature", 0.5, "--top-k", 2)
    with np.load(other) as saved:
        assert (saved["values"] != values).any()
    assert rgb(picture).max() == 255


def test_a_bundle_draws_what_its_run_draws(trained: Path, bundle: Path, tmp_path: Path) -> None:
    drawn = []
    for source in (trained, bundle):
        out = tmp_path / f"{source.name}.npz"
        printed = run("sample", source, "--seed", 3, "--out", tmp_path / "s.png", "--npz", out)
        assert "16 samples" in printed  # eight of each class
        with np.load(out) as saved:
            drawn.append(saved["values"])
    np.testing.assert_array_equal(*drawn)


def test_complete_keeps_what_was_given(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    printed = run("complete", trained, "--num", 3, "--completions", 2, "--keep", 0.5, "--out", out)
    assert "3 images, 2 completions each" in printed
    pixels = rgb(out)
    side, gap, header = 13 * 5, 3, 26
    original, completion = (
        pixels[header : header + 26, x : x + side] for x in (-gap - side, gap + side + 18)
    )
    np.testing.assert_array_equal(original, completion)


def test_complete_takes_the_options_of_sample(trained: Path, tmp_path: Path) -> None:
    def complete(name: str, *options: object) -> np.ndarray:
        out = tmp_path / f"{name}.png"
        run("complete", trained, "--num", 3, "--completions", 2, "--out", out, *options)
        return rgb(out)

    drawn = complete("cached")
    np.testing.assert_array_equal(complete("full", "--method", "full"), drawn)
    assert (complete("cool", "--temperature", 0.3) != drawn).any()
    assert (complete("nucleus", "--top-p", 0.3) != drawn).any()
    side, gap, header, labels = 13 * 5, 3, 26, 18
    most_probable = complete("greedy", "--top-k", 1)[header:]
    first = gap + side + labels
    np.testing.assert_array_equal(
        most_probable[:, first : first + side], most_probable[:, first + side + gap : first + 2 * side + gap]
    )


def test_pixelcnn_pp_goes_the_whole_way(pictures: Path, tmp_path: Path) -> None:
    folder, picture = tmp_path / "run", tmp_path / "samples.png"
    network = ["--model", "pixelcnn_pp", "--stages", 2, "--components", 2, "--filters", 4, "--layers", 1]
    options = ["--epochs", 2, "--batch-size", 8, "--flip", "--ema", 0.5, "--levels", 4, "--no-xla"]
    run("train", "--data", pictures, "--out", folder, *network, *options)
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


def test_evaluate_measures_a_tokenizer(tokenizer: Path, pictures: Path) -> None:
    images = load(pictures)
    scores = scores_of(load_tokenizer(tokenizer), images.x_test)
    printed = run("evaluate", tokenizer)
    assert "this tokenizer, uniform codes" in printed
    assert f"{scores['bits_per_dim']:.4f}" in printed
    for name in ("reconstruction_bits_per_dim", "perplexity"):
        assert f"{scores[name]:.4g}" in printed
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


def test_sample_shows_codes_as_images(of_codes: Path, tmp_path: Path) -> None:
    picture, archive = tmp_path / "s.png", tmp_path / "s.npz"
    options = ["--class", 1, "--num", 9, "--seed", 3, "--out", picture, "--npz", archive]
    assert "9 samples" in run("sample", of_codes, *options)
    generator, labels = load_generator(of_codes), np.ones(9, "int32")
    with np.load(archive) as saved:
        assert saved["values"].shape == (9, 8, 4, 1)
        np.testing.assert_array_equal(saved["values"], generator.sample(9, labels, seed=3))
        np.testing.assert_array_equal(saved["codes"], generator.sample_codes(9, labels, seed=3))
        np.testing.assert_array_equal(saved["labels"], labels)
        shown = saved["values"]
    save_grid(shown, 4, tmp_path / "expected.png")
    np.testing.assert_array_equal(rgb(picture), rgb(tmp_path / "expected.png"))
    assert rgb(of_codes / "samples.png").shape[0] == 2 * (64 + 3) + 3  # a row for each class


def test_a_prior_of_codes_is_exported_with_its_tokenizer(of_codes: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    printed = run("export", of_codes, bundle, "--format", "onnx")
    assert all(f"function {name}" in printed for name in ("encode", "decode", "generate", "step"))
    assert "onnx generate" in run("verify", bundle)
    assert "images" in run("info", bundle)
    for source in (of_codes, bundle):
        run("sample", source, "--num", 4, "--seed", 3, "--out", tmp_path / f"{source.name}.png")
    difference = rgb(tmp_path / f"{of_codes.name}.png").astype(int) - rgb(tmp_path / "bundle.png")
    assert (difference != 0).mean() < 0.01  # an expectation halfway between two levels


def test_complete_draws_the_codes_of_what_is_hidden(of_codes: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    printed = run("complete", of_codes, "--num", 2, "--completions", 3, "--keep", 0.5, "--out", out)
    assert "2 images, 3 completions each" in printed
    pixels, (side, gap, header) = rgb(out), (8 * 4, 3, 26)
    original, completion = (
        pixels[header : header + 32, x : x + side] for x in (-gap - side, gap + side + 18)
    )
    np.testing.assert_array_equal(original, completion)


def test_reconstruct_shows_what_is_left(tokenizer: Path, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.png"
    printed = run("reconstruct", tokenizer, "--num", 4, "--split", "train", "--columns", 2, "--out", out)
    assert "4 images above their reconstructions" in printed
    values, labels = split_of(load(pictures), "train", load_run(tokenizer).config["options"])
    some = values[spread(labels, len(values))[:4]]
    expected = tmp_path / "expected.png"
    save_reconstructions(some, load_tokenizer(tokenizer).reconstruct(some), 4, expected, columns=2)
    np.testing.assert_array_equal(rgb(out), rgb(expected))


def test_info_describes_tokenizers_and_priors_of_codes(tokenizer: Path, of_codes: Path) -> None:
    printed = run("info", tokenizer)
    assert "vq_vae" in printed
    assert "8 × 4 × 1, 4 levels" in printed
    printed = run("info", of_codes)
    assert "4 × 2 × 1, 6 codes" in printed
    assert "validation bits/code" in printed
    assert str(tokenizer) in printed.replace("\n", "")
    printed = run("info", tokenizer / "best.keras")
    assert "VQVAE" in printed
    assert "4 × 2 × 1, 6 codes" in printed


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
    model.save(other / "best.keras")
    for command in ("sample", "evaluate", "complete"):
        printed = run(command, of_codes, "--tokenizer", other, code=1)
        assert f"{other} is not the tokenizer of {of_codes}: its weights are not those" in printed
    changed = tmp_path / "changed.npz"
    run("encode", other, "--out", changed)
    assert "holds codes of another tokenizer" in run("evaluate", of_codes, "--data", changed, code=1)


def test_verify_and_info_describe_a_bundle(bundle: Path) -> None:
    assert "onnx step" in run("verify", bundle)
    printed = run("info", bundle)
    assert "4 × 5 × 1, 4 levels" in printed
    assert "uniforms float32" in printed


def test_info_describes_runs_and_files(trained: Path) -> None:
    printed = run("info", trained)
    assert "finished" in printed
    assert "pixel_cnn" in printed
    parameters = load_prior(trained / "best.keras").count_params()
    assert f"{parameters:,}" in run("info", trained / "best.keras")


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("train", 2, "Missing option '--out'"),
        ("train --out {tmp}/new --model vae", 2, "gated_pixel_cnn"),
        ("train --out {tmp}/new --epochs 0", 2, "--epochs"),
        ("train --out {tmp}/new --ema 2", 1, "ema=2.0; expected a momentum between 0 and 1"),
        ("train --out {tmp}/new --data nonsense", 1, "'nonsense' is not a known data set"),
        ("train --out {tmp}/new --data {tmp}/missing.npz", 1, "does not exist"),
        ("train --out {tmp}/new --stages 2", 1, "gated_pixel_cnn has no option num_stages"),
        ("train --out {tmp}/new --components 5", 1, "5 components for a categorical output"),
        ("train --out {tmp}/new --data {data} --levels 4 --model pixelcnn_pp", 1, "divisible by 4"),
        ("train --out {run} --data {data}", 1, "holds a finished run (12 epochs"),
        ("train --out {tmp}/new --model vq_vae --layers 2", 1, "vq_vae has no option num_layers"),
        ("train --out {tmp}/new --model vq_vae --conditional", 1, "is a tokenizer and has no condition"),
        ("train --out {tmp}/new --codes 6", 1, "gated_pixel_cnn has no option codebook_size"),
        ("train --out {tmp}/new --model vq_vae --data {data}", 1, "height and width divisible"),
        ("train --out {tmp}/new --data {codes} --flip", 1, "mirrored codes are not those of mirrored images"),
        ("train --out {tmp}/new --data {codes} --output logistic", 1, "expected a categorical output"),
        ("train --out {tmp}/new --data {codes} --levels 7", 1, "holds codes of 6 kinds; leave"),
        ("train --out {tmp}/new --data {codes} --model vq_vae", 1, "holds codes; expected images"),
        ("encode {tokenizer}", 2, "Missing option '--out'"),
        ("encode {tokenizer} --out {tmp}/codes", 2, "--out {tmp}/codes: expected a name that ends in .npz"),
        ("encode {run} --out {tmp}/c.npz", 1, "is a prior; expected a tokenizer"),
        ("encode {tokenizer} --out {tmp}/c.npz --data {data}", 1, "expected (8, 4, 1) of 4"),
        ("encode {tokenizer} --out {tmp}/c.npz --data {codes}", 1, "of 6 codes; expected (8, 4, 1) of 4"),
        ("reconstruct {of_codes} --out {tmp}/r.png", 1, "is a prior; expected a tokenizer"),
        ("reconstruct {tokenizer} --data digits --out {tmp}/r.png", 1, "expected (8, 4, 1) of 4"),
        ("sample {tokenizer} --out {tmp}/s.png", 1, "is a tokenizer; train a prior on its codes: `tfprior"),
        ("complete {tokenizer} --out {tmp}/c.png", 1, "is a tokenizer; train a prior on its codes: `tfprior"),
        ("sample {run} --tokenizer {tokenizer} --out {tmp}/s.png", 1, "needs no tokenizer; leave it out"),
        ("evaluate {run} --tokenizer {tokenizer}", 2, "is not of codes; leave it out"),
        ("evaluate {of_codes} --tokenizer {run}", 1, "is a prior; expected a tokenizer"),
        ("evaluate {of_codes} --data {data}", 1, "encode the images first, with `tfprior encode`"),
        ("complete {of_codes} --data {codes} --out {tmp}/c.png", 1, "of 6 codes; expected (8, 4, 1) of 4"),
        ("sample {bundle} --tokenizer {tokenizer}", 2, "a bundle has its tokenizer inside"),
        ("evaluate {tmp}/missing", 1, "is no folder; expected the --out"),
        ("evaluate {tmp}", 1, "holds no config.json"),
        ("evaluate {run} --split all", 2, "--split"),
        ("evaluate {run} --data digits", 1, "has grids (8, 8, 1) of 17 levels; expected (4, 5, 1) of 4"),
        ("score {run} --data digits", 1, "has grids (8, 8, 1) of 17 levels; expected (4, 5, 1) of 4"),
        ("score {run} --data {codes}", 1, "of 6 codes; expected (4, 5, 1) of 4"),
        ("score {run} --out {tmp}/scores.txt", 2, "scores.txt: expected a name that ends in .csv"),
        ("score {tokenizer}", 1, "is a tokenizer; train a prior on its codes"),
        ("score {tmp}/missing", 1, "is no folder; expected the --out"),
        ("evaluate {run} --num 0", 2, "--num"),
        ("sample {run} --class 2", 2, "--class 2: expected a class in [0, 1]"),
        ("sample {run} --temperature 0", 1, "temperature=0.0; expected a positive number"),
        ("sample {run} --top-k 9", 1, "top_k=9"),
        ("sample {bundle} --top-k 2", 2, "--top-k: a bundle samples by temperature alone"),
        ("sample {bundle} --top-k 0", 2, "--top-k: a bundle samples by temperature alone"),
        (
            "sample {run} --npz {tmp}/out.txt --out {tmp}/s.png",
            2,
            "out.txt: expected a name that ends in .npz",
        ),
        ("sample {data}", 1, "does not end in .keras"),
        ("complete {run} --keep middle", 2, "keep='middle'"),
        ("complete {run} --num 0", 2, "--num"),
        ("export {run} {bundle}", 2, "pass --overwrite to replace it"),
        ("export {run} {tmp}/new --format pdf", 2, "saved_model"),
        ("verify {run}", 1, "is no bundle"),
        ("info {tmp}/missing", 1, "is no folder"),
        ("teach", 2, "No such command 'teach'"),
    ],
)
def test_errors_are_one_sentence(
    trained: Path,
    bundle: Path,
    data: Path,
    tokenizer: Path,
    codes: Path,
    of_codes: Path,
    tmp_path: Path,
    args: str,
    code: int,
    words: str,
) -> None:
    places = {"tmp": tmp_path, "run": trained, "bundle": bundle, "data": data}
    places |= {"tokenizer": tokenizer, "codes": codes, "of_codes": of_codes}
    assert words.format(**places) in run(*(word.format(**places) for word in args.split()), code=code)
    assert not any(tmp_path.iterdir())


def test_an_unconditional_prior_takes_no_class(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    printed = run("train", "--data", data, "--out", out, *TINY, "--minutes", 1e-4, "--flip", "--levels", 4)
    assert "epoch 1 ·" in printed
    assert "--class: the prior is unconditional" in run("sample", out, "--class", 1, code=2)
    assert "64 samples" in run("sample", out, "--out", tmp_path / "s.png")


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
    run("train", "--data", data, "--out", other, *TINY, "--epochs", 1, "--conditional", "--levels", 4)
    assert "of other weights" in run("decompress", other, file, "--out", out, code=1)
    assert "missing.tfp: No such file" in run(
        "decompress", trained, tmp_path / "missing.tfp", "--out", out, code=1
    )
    assert "begin with b'PK" in run("decompress", trained, data, "--out", out, code=1)
    assert "expected a name that ends in .npz" in run("decompress", trained, file, "--out", file, code=2)
    assert not out.exists()


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


def test_debug_shows_the_error_itself(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--debug", "evaluate", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)


def test_a_changed_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for file in sorted(bundle.rglob("*")):
        target = copy / file.relative_to(bundle)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    step = copy / "onnx" / "step.onnx"
    step.write_bytes(step.read_bytes()[:-1] + b"!")
    assert "step.onnx" in run("verify", copy, code=1)
    run("sample", copy, "--out", tmp_path / "s.png", code=1)
    assert not (tmp_path / "s.png").exists()


def test_a_damaged_run_is_told(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in run("info", tmp_path, code=1)
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "best.keras").write_bytes((trained / "best.keras").read_bytes()[:1000])
    assert "best.keras is no readable .keras file" in run("evaluate", tmp_path, code=1)


def test_a_missing_package_is_named(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in ("client", "onnx_functions"):
        monkeypatch.delitem(sys.modules, f"tfprior.export.{name}", raising=False)
    printed = run("sample", bundle, "--out", tmp_path / "s.png", code=1)
    assert "onnxruntime is not installed; get it with: pip install" in printed


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("PIL", "pillow"),
        ("sklearn", "tfprior"),
        ("tf_keras", "tfprior"),
        ("constriction", "tfprior[compress]"),
    ],
)
def test_the_remedy_for_a_missing_module_is_its_package(module: str, package: str) -> None:
    printed = sentence(ModuleNotFoundError(f"No module named '{module}.x'", name=f"{module}.x"))
    assert printed == f"{module} is not installed; get it with: pip install '{package}'"


def test_onnx_is_verified_without_keras(bundle: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "find_spec = importlib.util.find_spec\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('keras', 'tensorflow'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "def absent(name, package=None):\n"
        "    return None if name in ('keras', 'tensorflow') else find_spec(name, package)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "importlib.util.find_spec = absent\n"
        "from tfprior.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", bundle], check=True, capture_output=True, text=True
    )
    assert "onnx step" in done.stdout


@pytest.mark.parametrize(
    ("command", "place", "words"),
    [
        ("train --out {tmp}/new", "tfprior.data.load", "Stopped; the same `tfprior train` command goes on"),
        ("evaluate {tmp}", "tfprior.runs.load_run", "Stopped.\n"),
    ],
)
def test_what_is_stopped_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str, words: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert words in run(*command.format(tmp=tmp_path).split(), code=1)


def test_what_exists_is_kept_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "digits"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = str((tmp_path / "mine").resolve())
    assert [whole_path(given) for given in ("mine", "./mine", "~/mine", mine)] == [mine] * 4
    assert [whole_path(given) for given in ("digits", "", "missing")] == ["digits", "", "missing"]
    assert whole_path("./digits") == str((tmp_path / "digits").resolve())


def test_unexpected_errors_say_what_they_are() -> None:
    assert sentence(KeyError("a\nb")) == "KeyError: 'a\\nb' (run again with --debug for the whole story)"
    missing = FileNotFoundError(2, "No such file or directory", "a.png")
    assert sentence(missing) == "a.png: No such file or directory."


# Resuming -------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_from_its_last_epoch(data: Path, tmp_path: Path) -> None:
    out, epochs = tmp_path / "run", 14
    code = "from tfprior.cli import main; main()"
    command = [sys.executable, "-c", code, "train", "--data", data, "--out", out, *TINY]
    command += ["--levels", "4", "--epochs", str(epochs), "--ema", "0.9"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_epochs(process, out / "metrics.csv", 3)
        os.kill(process.pid, signal.SIGKILL)
    killed = epochs_in(out / "metrics.csv")
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(killed) < epochs
    assert load_run(out).result is None
    assert "unfinished" in run("info", out)
    load_run(out).load("last.keras")  # whole, whenever the process was killed

    again = subprocess.run(command, check=True, capture_output=True, text=True)
    done = next(int(line.split()[-1]) for line in again.stdout.splitlines() if "going on" in line)
    assert done in (len(killed), len(killed) - 1)
    assert f"epoch {done + 1}/{epochs}" in again.stdout
    assert f"epoch {done}/{epochs}" not in again.stdout
    rows = epochs_in(out / "metrics.csv")
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert rows[:done] == killed[:done]
    assert load_run(out).result is not None
    assert not [path.name for path in out.iterdir() if path.name.startswith((".", "resume"))]


def epochs_in(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def wait_for_epochs(process: subprocess.Popen[bytes], file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(epochs_in(file)) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{count} epochs did not come; the process is at {process.poll()}")
