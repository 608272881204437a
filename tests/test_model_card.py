"""The model card's code runs."""

from pathlib import Path
from typing import Any

import pytest
from small_runs import MODEL, QUIET, TOKENIZER, coded, made, options

from tfprior.data import save_npz
from tfprior.training import train


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "run"
    return train(made(), TOKENIZER, out, options(), console=QUIET).path


def test_the_snippet_of_a_tokenizer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, file = made(), tmp_path / "made.npz"
    save_npz(images, file)
    source = {"name_or_path": str(file), "image_size": None, "num_levels": 4}
    run = train(images, TOKENIZER, tmp_path / "run", options(epochs=1), source, console=QUIET)
    card = (run.path / "model_card.md").read_text()
    assert "codes are\nin use" in card
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(card.split("```python\n")[1].split("```")[0], found)
    assert found["codes"].shape == (9, 4, 5, 1)
    assert found["reconstructed"].shape == (9, 4, 5, 1)


@pytest.mark.slow("False-False")
@pytest.mark.each_once
@pytest.mark.parametrize("of_codes", [False, True])
@pytest.mark.parametrize("conditional", [False, True])
def test_the_snippet_of_a_model_card_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer: Path, conditional: bool, of_codes: bool
) -> None:
    model, images = {**MODEL, "conditional": conditional}, made()
    if of_codes:
        images = coded(images, tokenizer)
    run = train(images, model, tmp_path / "run", options(epochs=1), console=QUIET)
    code = (run.path / "model_card.md").read_text().split("```python\n")[1].split("```")[0]
    assert ("numpy" in code) is conditional
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(code, found)
    assert found["images"].shape == (16, 4, 5, 1)
