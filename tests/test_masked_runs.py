"""Masked priors in runs, generators and compression: all the way, or refused in one sentence."""

from pathlib import Path

import numpy as np
import pytest
import small_runs
from catalogue import integers, prior_like, randomise, values_of
from typer.testing import CliRunner

from tfprior.cli import app
from tfprior.compression import compress
from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator
from tfprior.measuring import scores_of
from tfprior.priors import MaskedTransformer
from tfprior.quantizers import VectorQuantizer
from tfprior.runs import load_prior
from tfprior.tokenizers import VQVAE
from tfprior.training import train

SMALL = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8}


def generator() -> Generator:
    tokenizer = VQVAE(
        (4, 8, 1),
        VectorQuantizer(4, 3),
        DiscretizedLogistic(16),
        downsampling=2,
        filters=6,
        num_residual_blocks=1,
    )
    prior = MaskedTransformer(tokenizer.code_shape, Categorical(4), value_embedding_dim=3, **SMALL)
    return Generator(randomise(tokenizer), randomise(prior, 1))


def test_a_generator_through_codes() -> None:
    model, images = generator(), integers(3, 4, 8, 1, top=16)
    parts = model.sample_parts(3, seed=0, method="maskgit", iterations=3)
    np.testing.assert_array_equal(parts["values"], model.sample(3, seed=0, method="maskgit", iterations=3))
    assert parts["codes"].shape == (3, 2, 4, 1)
    mask = np.zeros((4, 8), bool)
    mask[:, 2:6] = True
    for options in ({}, {"method": "halton", "iterations": 3}):
        completed = model.complete(images, mask, seed=0, **options)
        np.testing.assert_array_equal(completed[:, ~mask], images[:, ~mask])
    codes = model.tokenizer.encode(images)
    given_codes = model.tokenizer.distribution.log_prob(model.tokenizer.params(codes), images)
    expected = np.asarray(given_codes).sum((1, 2)) + model.priors[0].log_prob_bound(codes)
    np.testing.assert_allclose(model.log_prob(images), expected, rtol=1e-5)


def test_a_run_goes_the_whole_way(tmp_path: Path) -> None:
    images, out = small_runs.made(), tmp_path / "run"
    np.savez(tmp_path / "made.npz", x_train=images.x_train, x_test=images.x_test, num_levels=4)
    source = {"name_or_path": str(tmp_path / "made.npz")}
    run = train(
        images,
        {"name": "masked_transformer", **SMALL},
        out,
        small_runs.options(),
        source,
        console=small_runs.QUIET,
    )
    prior = load_prior(out)
    assert run.score.name == "bits_per_dim_bound"
    assert run.score.is_likelihood
    assert "| this prior, an upper bound |" in (out / "model_card.md").read_text()
    bound = scores_of(prior, images.x_test)["bits_per_dim_bound"]

    def told(words: str, code: int = 0) -> str:
        result = CliRunner().invoke(app, words.format(tmp=tmp_path).split(), env={"COLUMNS": "200"})
        assert result.exit_code == code, result.output
        return result.stderr if code else result.stdout

    assert f"{bound:.4f}" in told("evaluate {tmp}/run")
    told("sample {tmp}/run --num 3 --method maskgit --iterations 2 --out {tmp}/s.png")
    told("complete {tmp}/run --mask centre --num 2 --completions 2 --out {tmp}/c.png")
    told("score {tmp}/run --num 3")
    for words, message in (
        (
            "sample {tmp}/run --method cached",
            "Unknown sampling method 'cached' of MaskedTransformer; expected",
        ),
        ("compress {tmp}/run --out {tmp}/x.tfp", "is a masked prior, of whose bits there is a bound alone"),
    ):
        assert message in told(words, code=1)


def test_codes_of_bert_s_objective_report_what_is_asked() -> None:
    prior = MaskedTransformer((2, 3, 1), Categorical(4), objective="bert", **SMALL)
    assert [score.name for score in prior.scores] == ["asked_bits_per_dim"]
    assert not prior.scores[0].is_likelihood


def test_compression_takes_a_likelihood_and_refuses_a_bound() -> None:
    prior = prior_like(MaskedTransformer)
    with pytest.raises(ValueError, match="MaskedTransformer is a masked prior"):
        compress(prior, values_of(prior))
