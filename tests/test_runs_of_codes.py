"""Priors of a tokenizer's codes."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from small_runs import MODEL, QUIET, TOKENIZER, coded, made, opened, options

from tfprior.pictures import save_grid
from tfprior.runs import load_generator, load_prior, load_run
from tfprior.sampling import sample
from tfprior.training import train


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tokenizer") / "run"
    return train(made(), TOKENIZER, out, options(), console=QUIET).path


def test_a_prior_of_codes_shows_images(tmp_path: Path, tokenizer: Path) -> None:
    codes, log = coded(made(), tokenizer), io.StringIO()
    often = options(epochs=1, pictures_every=1)
    run = train(codes, MODEL, tmp_path / "prior", often, console=Console(file=log, width=300))
    assert run.of_codes
    assert run.codes_origin == codes.origin
    assert load_run(run.path) == run
    assert set(run.result["baselines"]) == {"uniform", "histogram"}
    generator = load_generator(run.path)
    save_grid(generator.sample(64, seed=0), 4, tmp_path / "expected.png")
    np.testing.assert_array_equal(opened(run.file("samples.png")), opened(tmp_path / "expected.png"))
    while_training = run.file("pictures") / "samples-epoch-0001.png"
    np.testing.assert_array_equal(opened(while_training), opened(tmp_path / "expected.png"))
    assert "shades" not in log.getvalue()
    np.testing.assert_array_equal(
        load_generator(run.path / "best.keras", tokenizer).sample(4, seed=1), generator.sample(4, seed=1)
    )


@pytest.mark.slow("another", "gone")
@pytest.mark.parametrize("reason", ["unknown", "gone", "another"])
def test_a_prior_of_codes_without_its_tokenizer(tmp_path: Path, tokenizer: Path, reason: str) -> None:
    codes = coded(made(), tokenizer)
    origin = {
        "unknown": None,
        "gone": dataclasses.replace(codes.origin, tokenizer=str(tmp_path / "gone")),
        "another": dataclasses.replace(codes.origin, digest="0" * 64),
    }[reason]
    words = {
        "unknown": "does not tell the tokenizer of its codes; name its run: --tokenizer",
        "gone": "is no longer there; tell where its run is: --tokenizer",
        "another": "its weights are not those that gave the codes",
    }[reason]
    codes, log = dataclasses.replace(codes, origin=origin), io.StringIO()
    run = train(codes, MODEL, tmp_path / "prior", options(epochs=1), console=Console(file=log, width=900))
    assert "samples.png shows the codes as shades of grey: " in log.getvalue()
    assert words in log.getvalue()
    save_grid(sample(load_prior(run.path), 64, seed=0), 6, tmp_path / "expected.png")
    np.testing.assert_array_equal(opened(run.file("samples.png")), opened(tmp_path / "expected.png"))
    with pytest.raises((OSError, ValueError), match=words):
        load_generator(run.path)
    if reason != "another":
        assert load_generator(run.path, tokenizer).sample(2, seed=0).shape == (2, 4, 5, 1)
