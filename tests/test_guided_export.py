"""Bundles of priors that are guided: the functions take `guidance`, and draw what Keras draws with it.

Shapes: B batch · H W C grid.
"""

from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import pytest
from c_client import drawn_by_c, refused_by_c
from catalogue import condition_of, randomise, values_of
from drawing import noise
from test_generator import SMALL, two_grids
from typer.testing import CliRunner

import tfprior.export
from tfprior.cli import app
from tfprior.distributions import Categorical
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.decoding import DECODINGS
from tfprior.export.manifest_file import from_plain
from tfprior.export.strict_json import plain
from tfprior.generator import Generator
from tfprior.priors import AnyOrderTransformer, GatedPixelCNN, MaskedTransformer
from tfprior.sampling import sample

STRENGTHS = np.array([0, 1.5, 4, 0.5])


def assert_draws_as_keras(prior: Any, client: OnnxSampler, **asked: Any) -> None:
    """By every exact method: guided by a number for each sample, and without guidance."""
    given, uniforms = condition_of(prior, 4), noise(prior, 4)
    plain = sample(prior, 4, given, uniforms, **asked)
    expected = sample(prior, 4, given, uniforms, guidance=STRENGTHS, **asked)
    assert (expected != plain).any()
    exact = [method for method in client.methods if method not in DECODINGS]
    for method in exact if "observed" not in asked else exact[:1]:
        options = {"method": method, **asked}
        values, nats = client.rollout(uniforms, given, guidance=STRENGTHS, **options)
        np.testing.assert_array_equal(values, expected, err_msg=method)
        if not asked:  # of the condition, as if there were no guidance
            np.testing.assert_allclose(nats, client.log_prob(expected, given), rtol=1e-5, err_msg=method)
        for none in ({}, {"guidance": 0}):
            np.testing.assert_array_equal(client.sample(4, given, uniforms, **options, **none), plain)
    for method in set(client.methods) - set(exact):
        options = {"seed": 1, "method": method, "iterations": 3, "guidance": STRENGTHS, **asked}
        np.testing.assert_array_equal(client.sample(4, given, **options), sample(prior, 4, given, **options))


@pytest.mark.slow("AnyOrderTransformer")
@pytest.mark.parametrize(
    ("kind", "grid", "condition", "takes"),
    [
        (AnyOrderTransformer, (2, 3, 1), "maps", {"step", "sample"}),
        (MaskedTransformer, (2, 3, 2), "labels", {"refine", "sample"}),
    ],
)
def test_transformers_are_guided_as_in_keras(
    kind: Any, grid: Any, condition: str, takes: set[str], tmp_path: Path
) -> None:
    prior = catalogue.prior(kind, grid, condition, condition_dropout=0.2)
    client = OnnxSampler(tfprior.export.save(prior, tmp_path / "prior"), threads=1)
    assert_draws_as_keras(prior, client)
    mask = np.arange(6).reshape(grid[:2]) % 4 > 1
    assert_draws_as_keras(prior, client, observed=values_of(prior, 4), mask=mask)
    functions = client.manifest.functions.items()
    assert takes == {name for name, each in functions if any(port.name == "guidance" for port in each.inputs)}
    if client.prior.cache is not None:  # keys and values with the condition, and without
        assert client.prior.cache.head_dim == 2 * prior.hidden_dim // prior.num_heads


@pytest.fixture(scope="module")
def guided_top(tmp_path_factory: pytest.TempPathFactory) -> tuple[Generator, Path]:
    """Of two grids, of which the labels of the coarse one alone may be lost."""
    top = GatedPixelCNN((2, 4, 1), Categorical(4), num_classes=3, condition_dropout=0.2, **SMALL)
    bottom = GatedPixelCNN((4, 8, 1), Categorical(6), condition_shape=(4, 8, 3), **SMALL)
    model = Generator(two_grids((8, 16, 1)), [randomise(top), randomise(bottom, 1)])
    path = tmp_path_factory.mktemp("bundle") / "images"
    return model, tfprior.export.save(model, path, formats=("onnx",))


@pytest.mark.slow
def test_generators_guide_the_priors_that_have_learnt_it(guided_top: tuple[Generator, Path]) -> None:
    model, path = guided_top
    client, labels = OnnxGenerator(path, threads=1), np.array([0, 1, 2, 1])
    assert_draws_as_keras(model.priors[0], client.samplers[0])
    expected = model.sample_codes(4, labels, seed=1, guidance=3)
    assert (expected[0] != model.sample_codes(4, labels, seed=1)[0]).any()
    for drawn, grid in zip(client.sample_codes(4, labels, seed=1, guidance=3), expected, strict=True):
        np.testing.assert_array_equal(drawn, grid)
    uniforms = [noise(prior, 4) for prior in model.priors]
    made = client.generate(uniforms, labels, guidance=STRENGTHS)
    guided = sample(model.priors[0], 4, labels, uniforms[0], guidance=STRENGTHS)
    np.testing.assert_array_equal(made["top_codes"], guided)
    condition = np.asarray(model.condition_of([guided], None))
    np.testing.assert_array_equal(made["bottom_codes"], sample(model.priors[1], 4, condition, uniforms[1]))
    with pytest.raises(ValueError, match="guidance=-1; expected a number from 0, or one for each of 4"):
        client.sample(4, labels, guidance=-1)


def test_the_command_line_and_c_guide_a_bundle(tmp_path: Path) -> None:
    prior = randomise(GatedPixelCNN((3, 4, 1), Categorical(4), num_classes=3, condition_dropout=0.2, **SMALL))
    path = tfprior.export.save(prior, tmp_path / "prior")
    expected = prior.sample(4, [1] * 4, seed=1, guidance=3)
    assert (expected != prior.sample(4, [1] * 4, seed=1)).any()
    np.testing.assert_array_equal(drawn_by_c(path, 4, 1, 1.0, 1, 3), expected.reshape(4, -1))
    assert "guidance is a number from 0, for priors trained" in refused_by_c(path, 4, 1, 1.0, 1, -3)
    out = tmp_path / "drawn.npz"
    options = [
        "--class",
        "1",
        "--num",
        "4",
        "--seed",
        "1",
        "--guidance",
        "3",
        "--out",
        str(tmp_path / "s.png"),
    ]
    result = CliRunner().invoke(app, ["sample", str(path), *options, "--npz", str(out)])
    assert result.exit_code == 0, result.output
    with np.load(out) as saved:
        np.testing.assert_array_equal(saved["values"], expected)


@pytest.mark.slow
def test_the_command_line_guides_a_bundle_of_two_grids(
    guided_top: tuple[Generator, Path], tmp_path: Path
) -> None:
    model, path = guided_top
    options = [
        "--class",
        "1",
        "--num",
        "4",
        "--seed",
        "1",
        "--guidance",
        "3",
        "--out",
        str(tmp_path / "s.png"),
    ]
    result = CliRunner().invoke(app, ["sample", str(path), *options, "--npz", str(tmp_path / "drawn.npz")])
    assert result.exit_code == 0, result.output
    with np.load(tmp_path / "drawn.npz") as saved:
        np.testing.assert_array_equal(saved["codes_0"], model.sample_codes(4, [1] * 4, seed=1, guidance=3)[0])


def test_a_bundle_without_guidance_refuses_it(prior_bundle: Path) -> None:
    client = OnnxSampler(prior_bundle)
    with pytest.raises(
        ValueError, match="guidance=2 and the bundle's prior takes none; leave it out, or exp"
    ):
        client.sample(2, [0, 1], guidance=2)
    fields = plain(client.manifest)
    fields["priors"][0]["golden"]["guidance"] = [0, 2]
    with pytest.raises(ValueError, match=r"the ports of step.inputs are .*; expected .*guidance"):
        from_plain(fields)
    fields["priors"][0]["golden"]["guidance"] = [0, -1]
    with pytest.raises(ValueError, match=r"golden.guidance is negative; expected numbers from 0"):
        from_plain(fields)
    del fields["priors"][0]["golden"]["guidance"]  # as bundles were that are older than guidance
    assert not from_plain(fields).priors[0].is_guided
