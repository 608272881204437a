"""Bundles of masked priors: a pass over what is hidden, the loop around it, likelihoods along orders."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import catalogue
import numpy as np
import pytest
from catalogue import condition_of, prior_like, values_of
from drawing import noise
from joining import assert_it_matters_to_none_when_it_joins
from node import ask, assert_draws_as_keras
from runtimes import save_everywhere
from served import serving
from test_generator import tokenizer
from test_transformer_export import refuse_positions_twice
from typer.testing import CliRunner

import tfprior.export
from tfprior.cli import app
from tfprior.distributions import DiscretizedLogisticMixture
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.manifest_file import from_plain
from tfprior.export.strict_json import plain
from tfprior.generator import Generator
from tfprior.priors import MaskedTransformer
from tfprior.sampling import sample
from tfprior.sampling.decoding import maskgit
from tfprior.sampling.request import Request
from tfprior.sampling.running import draw_grids

CODES = (2, 3, 2)
MODELS: dict[str, dict[str, Any]] = {
    "channels apart": {},
    "channels together": {"distribution": DiscretizedLogisticMixture(2, 4)},
}


pytestmark = pytest.mark.slow("channels apart")


class Exported(NamedTuple):
    prior: MaskedTransformer
    client: OnnxSampler


@pytest.fixture(scope="module", params=list(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    prior = catalogue.prior(MaskedTransformer, CODES, "labels", num_layers=1, **MODELS[request.param])
    path = save_everywhere(prior, tmp_path_factory.mktemp("bundle") / "prior")
    replayed = tfprior.export.verify(path, runtimes=["onnx", "saved_model"])
    assert {"onnx log_prob_given", "saved_model step", "saved_model loop"} <= set(replayed)
    return Exported(prior, OnnxSampler(path, threads=1))


def orders_of(prior: MaskedTransformer, count: int) -> list[Any]:
    each = np.tile(np.arange(prior.num_steps, dtype="int32"), (count, 1))
    return [None, "halton", np.random.default_rng(2).permuted(each, axis=1)]


def test_it_draws_and_scores_as_keras_does(exported: Exported) -> None:
    prior, client = exported
    assert client.methods == ["step", "loop", "maskgit", "halton"]
    given, uniforms = condition_of(prior, 4), noise(prior, 4)
    for order in orders_of(prior, 4):
        expected = sample(prior, 4, given, uniforms, temperature=0.8, order=order)
        nats = prior.log_prob(expected, given, order="raster" if order is None else order)
        for method in ("step", "loop"):
            values, log_prob = client.rollout(uniforms, given, 0.8, method, order=order)
            np.testing.assert_array_equal(values, expected, err_msg=method)
            np.testing.assert_allclose(log_prob, nats, rtol=1e-5, err_msg=method)
        np.testing.assert_allclose(client.log_prob(expected, given, order=order), nats, rtol=1e-5)


def test_it_completes_as_keras_does(exported: Exported) -> None:
    prior, client = exported
    observed, given, uniforms = values_of(prior, 4), condition_of(prior, 4), noise(prior, 4)
    mask = np.random.default_rng(5).random((4, *CODES[:2])) < 0.5
    for order in orders_of(prior, 4):
        known = {"observed": observed, "mask": mask, "order": order}
        expected = sample(prior, 4, given, uniforms, **known)
        np.testing.assert_array_equal(client.sample(4, given, uniforms, **known), expected)
        np.testing.assert_array_equal(expected[~mask], observed[~mask])


def test_it_decodes_in_a_few_passes_as_keras_does(exported: Exported) -> None:
    prior, client = exported
    given, observed = condition_of(prior, 4), values_of(prior, 4)
    mask = np.random.default_rng(6).random((4, *CODES[:2])) < 0.6
    mask[0], mask[1] = True, False
    for method, iterations in (("maskgit", None), ("maskgit", 3), ("halton", 2)):
        options = {"method": method, "iterations": iterations, "temperature": 0.9}
        expected = sample(prior, 4, given, seed=3, **options)
        np.testing.assert_array_equal(client.sample(4, given, seed=3, **options), expected)
        known = {"observed": observed, "mask": mask, **options}
        completed = client.sample(4, given, seed=3, **known)
        np.testing.assert_array_equal(completed, sample(prior, 4, given, seed=3, **known))
        np.testing.assert_array_equal(completed[~mask], observed[~mask])
    sampler = maskgit(3)
    uniforms = np.random.default_rng(0).random((4, *CODES[:2], sampler.num_uniforms(prior)), "float32")
    request = Request.of(prior, 4, given, uniforms, num_uniforms=uniforms.shape[-1])
    drawn = draw_grids(prior, sampler, request)
    found = client.rollout(uniforms, given, method="maskgit", iterations=3)
    np.testing.assert_array_equal(found.values, drawn.values)
    np.testing.assert_allclose(found.log_prob, drawn.log_prob, rtol=1e-4)


@pytest.mark.parametrize("exported", ["channels apart"], indirect=True)
def test_the_command_line_decodes_a_bundle(exported: Exported, tmp_path: Path) -> None:
    out, path = tmp_path / "drawn.npz", exported.client.functions.path
    arguments = [
        "--class",
        1,
        "--num",
        4,
        "--seed",
        3,
        "--method",
        "maskgit",
        "--iterations",
        3,
        "--npz",
        out,
    ]
    result = CliRunner().invoke(
        app, ["sample", *map(str, [path, *arguments, "--out", tmp_path / "drawn.png"])]
    )
    assert result.exit_code == 0, result.output
    expected = sample(exported.prior, 4, [1] * 4, seed=3, method="maskgit", iterations=3)
    with np.load(out) as saved:
        np.testing.assert_array_equal(saved["values"], expected)


@pytest.mark.parametrize(
    "options", [{}, {"method": "maskgit", "iterations": 3}, {"method": "halton"}], ids=str
)
def test_examples_join_whenever_they_come(exported: Exported, options: dict[str, Any]) -> None:
    assert_it_matters_to_none_when_it_joins(exported.client, condition_of(exported.prior, 4), **options)


def test_a_server_shares_passes_of_all_ways(exported: Exported) -> None:
    given = condition_of(exported.prior, 2)
    ask = {"num_samples": 2, "seed": 3, "condition": None if given is None else given.tolist()}
    ways: list[dict[str, Any]] = [{}, {"method": "maskgit", "iterations": 3}, {"method": "halton"}] * 2
    path = exported.client.functions.path
    with serving(path) as server, ThreadPoolExecutor(len(ways)) as pool:
        name = path.name
        told = pool.map(lambda way: server.ask(name, "sample", **ask, **way)["values"], ways)
        for way, values in zip(ways, told, strict=True):
            np.testing.assert_array_equal(values, exported.client.sample(2, given, seed=3, **way))
        wrong = server.ask(name, "sample", 400, **ask, iterations=3)
        assert "draws one by one and got iterations=3" in wrong["error"]


def test_ways_of_decoding_are_checked(exported: Exported) -> None:
    refuse_positions_twice(*exported)
    client, given = exported.client, condition_of(exported.prior, 2)
    for options, message in (
        ({"iterations": 3}, "method='step' draws one by one and got iterations=3; leave it out"),
        ({"method": "halton", "iterations": 0}, "Halton got iterations=0; expected a positive integer"),
        (
            {"method": "maskgit", "order": "raster"},
            "MaskGIT decoding chooses itself what is drawn first",
        ),
        (
            {"method": "cached"},
            "method 'cached' here; expected one of step, loop, maskgit, halton",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            client.sample(2, given, **options)


def test_a_pass_draws_and_scores_what_is_hidden(exported: Exported) -> None:
    prior, client = exported
    values, given = values_of(prior, 3), condition_of(prior, 3)
    hidden = np.random.default_rng(1).random((3, *CODES[:2], prior.channel_groups)) < 0.5
    tensors = {
        "values": np.where(hidden, 3 - values, values).astype("int32"),  # what is hidden is not read
        "hidden": hidden.astype("int32"),
        "uniforms": noise(prior, 3),
        "temperature": np.ones(3, "float32"),
        "condition": given,
    }
    drawn, nats = prior.refine(values, hidden, noise(prior, 3), prior.encode_condition(given))
    out = client.run("refine", tensors)
    np.testing.assert_array_equal(out["values_out"], drawn)
    np.testing.assert_allclose(out["log_prob"], nats, rtol=1e-4, atol=1e-5)
    given_nats = client.run("log_prob_given", {**tensors, "values": np.asarray(drawn)})["log_prob"]
    np.testing.assert_allclose(given_nats[hidden], np.asarray(nats)[hidden], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("exported", ["channels apart"], indirect=True)
def test_manifests_that_contradict_themselves_are_refused(exported: Exported) -> None:
    for changes, message in (
        ({"hidden_apart": None}, "cache and hidden_apart are both given, or both null"),
        ({"hidden_apart": 3}, "hidden_apart is 3 and orders 'any'; expected 1, or one for each channel"),
        ({"hidden_apart": 1}, r"has hidden int32 \(2, 3, 2\); expected int32 \(2, 3, 1\)"),
        ({"orders": "raster"}, "hidden_apart is 2 and orders 'raster'"),
    ):
        fields = plain(exported.client.manifest)
        fields["priors"][0].update(changes)
        with pytest.raises(ValueError, match=message):
            from_plain(fields)


@pytest.mark.slow
def test_a_generator_of_masked_codes_draws_the_same(tmp_path: Path) -> None:
    prior = prior_like(MaskedTransformer, (4, 2, 1), num_layers=1)
    generator = Generator(tokenizer(), prior)
    path = tfprior.export.save(generator, tmp_path / "images", formats=("onnx",))
    client = OnnxGenerator(path)
    np.testing.assert_array_equal(client.sample(3, seed=1), generator.sample(3, seed=1))
    in_passes = {"seed": 1, "method": "halton", "iterations": 3}
    by_javascript, wrong = ask(
        path, ("sample", {"count": 3, **in_passes}), ("sample", {"count": 3, "iterations": 3})
    )
    assert "method is undefined; expected maskgit or halton" in wrong["message"]
    np.testing.assert_array_equal(by_javascript["values"], generator.sample(3, **in_passes).ravel())


def test_javascript_draws_the_same(exported: Exported) -> None:
    prior, client = exported
    order = orders_of(prior, 5)[-1]
    assert_draws_as_keras(client.functions.path, prior, condition_of(prior, 5), order)


def test_javascript_decodes_in_a_few_passes_as_keras_does(exported: Exported) -> None:
    prior, client = exported
    given, observed = condition_of(prior, 4), values_of(prior, 4)
    mask = np.random.default_rng(6).random((4, *CODES[:2])) < 0.6
    mask[0], mask[1] = True, False
    temperature = np.linspace(0.7, 1.3, 4).astype("float32")
    asked = {"count": 4, "condition": given, "seed": 3, "temperature": temperature}
    known = {"values": observed, "mask": mask}
    ways: list[dict[str, Any]] = [
        {"method": "maskgit"},
        {"method": "maskgit", "iterations": 3},
        {"method": "halton", "iterations": 2},
        {"method": "halton"},
    ]
    wrong = [
        {"iterations": 3},
        {"method": "halton", "iterations": 0},
        {"method": "maskgit", "order": "raster"},
    ]
    answers = ask(
        client.functions.path,
        *(("sample", {**asked, **way}) for way in ways),
        *(("complete", {**asked, **known, **way}) for way in ways),
        ("draw", {**asked, **ways[1]}),
        *(("sample", {**asked, **way}) for way in wrong),
    )
    for way, drawn, filled in zip(ways, answers[:4], answers[4:8], strict=True):
        assert not {"message"} & (set(drawn) | set(filled)), (drawn, filled)
        options = {"seed": 3, "temperature": temperature, **way}
        np.testing.assert_array_equal(drawn["values"], sample(prior, 4, given, **options).ravel())
        assert (np.asarray(drawn["logProb"]) < 0).all()
        completed = sample(prior, 4, given, observed=observed, mask=mask, **options)
        np.testing.assert_array_equal(filled["values"], completed.ravel())
    passes = answers[8]
    assert passes["ranks"] == [0, 1, 2]
    assert np.count_nonzero(passes["positions"], axis=1).tolist()[-1] == 0
    for answer, message in zip(
        answers[9:],
        ("method is undefined; expected maskgit or halton", "iterations is 0; expected", "leave order out"),
        strict=True,
    ):
        assert message in answer["message"]
