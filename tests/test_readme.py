"""The Python of the README and the docs runs as it stands, and the demo runs whole at a tiny size."""

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_bundles import GRID, save_prior

from tfprior.export.client import OnnxSampler
from tfprior.grid_model import GridModel
from tfprior.priors import GatedPixelCNN

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "export/README.md",
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
]


def snippets_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)


@pytest.mark.xla
def test_the_snippets_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = GatedPixelCNN.fit

    def fit_little(self: GatedPixelCNN, x: dict, **options: object) -> object:
        return train(self, {name: array[:64] for name, array in x.items()}, verbose=0, **options)

    monkeypatch.setattr(GatedPixelCNN, "fit", fit_little)
    trained, exported = snippets_of("README.md")
    (compressed,) = snippets_of("docs/bits.md")
    (opened,) = snippets_of("docs/bundle.md")
    first: dict = {}
    exec(trained, first)
    second: dict = {}
    exec(exported, second)
    assert first["nats"].shape == (16,)
    np.testing.assert_array_equal(first["images"], second["images"])
    exec(opened, second)
    np.testing.assert_array_equal(first["images"][:5], second["images"][:5])  # at temperature 1
    (row_by_row,) = snippets_of("docs/sampling.md")
    exec(row_by_row, first)
    again = first["tfprior"].sampling.sample(first["prior"], 16, first["digits"].y_test[:16], seed=0)
    np.testing.assert_array_equal(first["canvas"], again)
    exec(compressed, first)
    np.testing.assert_array_equal(first["images"], first["digits"].x_test[:16])
    np.testing.assert_array_equal(first["labels"], first["digits"].y_test[:16])


def test_the_loop_of_the_contract_draws_what_samplers_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = save_prior(tmp_path / "my_prior", num_classes=None)
    monkeypatch.chdir(tmp_path)
    (loop,) = snippets_of("export/README.md")
    names: dict = {}
    exec(loop, names)
    noise = names["noise"].reshape(1, *GRID[:2], -1)
    np.testing.assert_array_equal(OnnxSampler(bundle).sample(1, uniforms=noise)[0], names["image"])


@pytest.mark.slow
def test_the_walk_through_runs_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = GridModel.fit

    def fit_little(self: GridModel, x: Any, **options: object) -> object:
        few = keras.tree.map_structure(lambda part: part[:64], x)
        return train(self, few, **{**options, "epochs": 1, "verbose": 0})

    monkeypatch.setattr(GridModel, "fit", fit_little)
    names: dict = {}
    for snippet in snippets_of("docs/vq_vae.md"):
        exec(snippet, names)
    assert names["codes"].shape[1:] == (4, 4, 1)
    assert names["bits"].shape == (len(names["digits"].x_test),)
    np.testing.assert_array_equal(names["completed"][:, :4], names["digits"].x_test[:10, :4])
    assert np.abs(names["again"] - names["drawn"]).max() <= 1
    assert names["more"].shape == (10, 8, 8, 1)


def test_the_callbacks_run_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = GatedPixelCNN.fit

    def fit_little(self: GatedPixelCNN, x: dict, **options: Any) -> object:
        few = {name: array[:64] for name, array in x.items()}
        return train(self, few, **{**options, "epochs": 5, "verbose": 0})

    monkeypatch.setattr(GatedPixelCNN, "fit", fit_little)
    trained, _ = snippets_of("docs/training.md")
    names: dict = {}
    exec(trained, names)
    assert {path.name for path in (tmp_path / "runs" / "callbacks").rglob("*.*")} == {
        *("best.keras", "metrics.csv"),
        *("completions-epoch-0005.png", "samples-epoch-0005.png"),
    }
    assert len(names["history"].history["images_per_second"]) == 5


def test_encoders_are_trained_saved_and_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors", reason="the extra `weights` is not installed")
    monkeypatch.chdir(tmp_path)
    train = keras.Model.fit

    def fit_little(self: keras.Model, x: Any, y: Any = None, **options: Any) -> object:
        if y is None:  # batches
            return train(self, x, **{**options, "steps_per_epoch": 2})
        return train(self, x[:64], y[:64], **{**options, "epochs": 1, "verbose": 0})

    monkeypatch.setattr(keras.Model, "fit", fit_little)
    monkeypatch.setattr(keras.Model, "evaluate", lambda *given, **options: {"accuracy": 0.0})
    names: dict = {}
    for snippet in snippets_of("docs/encoders.md"):
        exec(snippet, names)
    assert names["left_out"] == []
    images = names["x_test"][:3]
    np.testing.assert_array_equal(names["same"](images), names["classifier"](images))
    assert names["larger"].feature_size == (4, 2)


def test_an_encoder_is_pretrained_and_fine_tuned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = keras.Model.fit

    def fit_little(self: keras.Model, x: Any, *labels: Any, **options: Any) -> object:
        few = {"validation_data": options["validation_data"][:64]} if "validation_data" in options else {}
        return train(self, x[:64], *(y[:64] for y in labels), **{**options, **few, "epochs": 1, "verbose": 0})

    monkeypatch.setattr(keras.Model, "fit", fit_little)
    (walk,) = snippets_of("docs/pretraining.md")
    names: dict = {}
    exec(walk, names)
    assert names["pictures"].hidden.mean() == 0.75
    saved = keras.saving.load_model(tmp_path / "mae.keras")
    np.testing.assert_array_equal(
        saved.reconstruct(names["x_test"][:8]).reconstruction, names["pictures"].reconstruction
    )
    assert names["classifier"].encoder is names["model"].encoder


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_links_exist(page: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / page).read_text("utf-8")):
        file = (ROOT / page).parent / target.partition("#")[0]
        assert target.startswith("https://") or file.exists(), target


def test_no_placeholder_is_left_in_the_readme() -> None:
    assert not re.search(r"^[A-Z]+_[A-Z]+$|\*\*[A-Z_]{4,}\*\*", (ROOT / "README.md").read_text("utf-8"), re.M)


def test_the_demo_runs_whole(tmp_path: Path) -> None:
    from examples import digits

    scores = digits.main(tmp_path / "run", epochs=1, filters=8, num_layers=1)
    assert next(iter(scores)) == "Gated PixelCNN"
    assert scores["Gated PixelCNN"] < scores["uniform"]
    for name in ("samples.png", "completion.png", "bundle/manifest.json"):
        assert (tmp_path / "run" / name).is_file()


def test_the_readme_is_a_page() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 150
