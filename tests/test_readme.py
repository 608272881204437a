"""The README's Python runs as it stands, and the demo runs whole at a tiny size."""

import re
from pathlib import Path

import numpy as np
import pytest

from tfprior.priors import GatedPixelCNN

ROOT = Path(__file__).parent.parent


def test_the_snippets_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train = GatedPixelCNN.fit

    def fit_little(self: GatedPixelCNN, x: dict, **options: object) -> object:
        return train(self, {name: array[:64] for name, array in x.items()}, verbose=0, **options)

    monkeypatch.setattr(GatedPixelCNN, "fit", fit_little)
    snippets = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert len(snippets) == 2
    first: dict = {}
    exec(snippets[0], first)
    second: dict = {}
    exec(snippets[1], second)
    assert first["nats"].shape == (16,)
    np.testing.assert_array_equal(first["images"], second["images"])


def test_pictures_and_links_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text("utf-8")):
        assert (ROOT / target).exists(), target


def test_no_placeholder_is_left_in_the_readme() -> None:
    assert not re.search(r"^[A-Z]+_[A-Z]+$|\*\*[A-Z_]{4,}\*\*", (ROOT / "README.md").read_text("utf-8"), re.M)


def test_the_demo_runs_whole(tmp_path: Path) -> None:
    from examples import digits

    scores = digits.main(tmp_path / "run", epochs=1, filters=8, num_layers=1, xla=False)
    assert next(iter(scores)) == "Gated PixelCNN"
    assert scores["Gated PixelCNN"] < scores["uniform"]
    for name in ("samples.png", "completion.png", "bundle/manifest.json"):
        assert (tmp_path / "run" / name).is_file()
