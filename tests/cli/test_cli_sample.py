"""`tfprior sample` and `complete`: what they draw."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command_line import TINY, rgb, run
from PIL import Image

from tfprior.cli.opening import Source
from tfprior.pictures import save_grid
from tfprior.runs import load_generator, load_run


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


def test_an_unconditional_prior_takes_no_class(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    printed = run("train", *TINY, "--data", data, "--out", out, "--minutes", 1e-4, "--flip", "--levels", 4)
    assert "epoch 1 ·" in printed
    assert "--class: the prior is unconditional" in run("sample", out, "--class", 1, code=2)
    assert "64 samples" in run("sample", out, "--out", tmp_path / "s.png")


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


def test_complete_keeps_what_was_given(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    printed = run("complete", trained, "--num", 3, "--completions", 2, "--mask", "bottom", "--out", out)
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


def test_complete_draws_the_codes_of_what_is_hidden(of_codes: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    printed = run("complete", of_codes, "--num", 2, "--completions", 3, "--mask", "bottom", "--out", out)
    assert "2 images, 3 completions each" in printed
    pixels, (side, gap, header) = rgb(out), (8 * 4, 3, 26)
    original, completion = (
        pixels[header : header + 32, x : x + side] for x in (-gap - side, gap + side + 18)
    )
    np.testing.assert_array_equal(original, completion)


@pytest.fixture
def folder_of_classes(tmp_path: Path) -> Path:
    """Images of 8 × 10 pixels in subfolders that name their classes."""
    rng = np.random.default_rng(0)
    for name, low in (("Bright", 200), ("dark sky", 0)):
        for index in range(12):
            file = tmp_path / "images" / name / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(low, low + 50, size=(8, 10)).astype("uint8")).save(file)
    return tmp_path / "images"


def test_sample_takes_classes_by_name(folder_of_classes: Path, tmp_path: Path) -> None:
    out, drawn = tmp_path / "run", tmp_path / "s.npz"
    size = ["--image-size", "4x5"]
    run("train", *TINY, "--data", folder_of_classes, *size, "--out", out, "--conditional", "--epochs", 1)
    config = load_run(out).config
    assert config["data"]["class_names"] == ["Bright", "dark sky"]
    assert (config["data"]["image_size"], config["data"]["grid_shape"]) == ([4, 5], [4, 5, 1])
    assert "test split" in run("evaluate", out)
    options = ["--num", 3, "--out", tmp_path / "s.png", "--npz", drawn]
    run("sample", out, "--class", "dark sky", "--class", "bright", *options)
    with np.load(drawn) as saved:
        np.testing.assert_array_equal(saved["labels"], [1, 1, 0])
    printed = run("sample", out, "--class", "grey", *options, code=2)
    assert "--class grey: expected a class in [0, 1] or one of Bright, dark sky." in printed
    run("export", out, tmp_path / "bundle", "--format", "onnx")
    run("sample", tmp_path / "bundle", "--class", "dark sky", *options)
    with np.load(drawn) as saved:
        np.testing.assert_array_equal(saved["labels"], [1, 1, 1])
    assert "dark sky" in run("info", tmp_path / "bundle")


def test_classes_of_codes_have_the_names_of_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    images = SimpleNamespace(class_names=("hat", "bag"))
    origin = SimpleNamespace(images={"name_or_path": "fashion"})
    monkeypatch.setattr("tfprior.data.load", lambda name_or_path: {"fashion": images}[name_or_path])
    folder = SimpleNamespace(config={"data": {}}, codes_origin=origin)
    assert Source(Path("run"), folder).class_names() == ("hat", "bag")
    folder.config["data"]["class_names"] = ["own"]
    assert Source(Path("run"), folder).class_names() == ("own",)
    assert Source(Path("file.keras"), None).class_names() == ()


def test_complete_hides_what_a_picture_shows(trained: Path, tmp_path: Path) -> None:
    hidden = np.zeros((4, 5), "uint8")
    hidden[1:3, :2] = 255
    Image.fromarray(hidden).save(tmp_path / "mask.png")
    options = ["--num", 2, "--completions", 2]
    run("complete", trained, *options, "--mask", tmp_path / "mask.png", "--out", tmp_path / "drawn.png")
    run("complete", trained, *options, "--mask", "centre", "--out", tmp_path / "centre.png")
    drawn, centre = rgb(tmp_path / "drawn.png"), rgb(tmp_path / "centre.png")
    assert drawn.shape == centre.shape
    assert (drawn != centre).any()
    # The given pixels of the first image, next to the original at the right end.
    side, gap, header, labels, scale = 13 * 5, 3, 26, 18, 13
    original, completed = (
        drawn[header : header + 4 * scale, x : x + side] for x in (-gap - side, gap + side + labels)
    )
    known = np.kron(hidden == 0, np.ones((scale, scale), bool))
    np.testing.assert_array_equal(completed[known], original[known])
