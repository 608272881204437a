"""Bundles of Transformers: keys and values handed from step to step, in raster order and in any."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import catalogue
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from catalogue import condition_of, prior_like, values_of
from drawing import noise
from joining import assert_it_matters_to_none_when_it_joins
from node import assert_draws_as_keras
from runtimes import save_everywhere
from served import serving
from test_generator import tokenizer

import tfprior.export
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.manifest_file import from_plain
from tfprior.export.strict_json import plain
from tfprior.generator import Generator
from tfprior.priors import AnyOrderTransformer, CausalTransformer, Prior
from tfprior.sampling import sample

GREY, CODES = (3, 4, 1), (2, 3, 2)
"""Two channels are two tokens of a position."""


pytestmark = pytest.mark.slow("causal grey")


class Exported(NamedTuple):
    prior: Prior
    path: Path
    client: OnnxSampler


MODELS: dict[str, tuple[Any, ...]] = {
    "causal grey": (CausalTransformer, GREY, "maps", {"num_layers": 2}),
    "causal codes": (CausalTransformer, CODES, "labels", {"num_layers": 1, "positions": "rotary"}),
    "any order codes": (AnyOrderTransformer, CODES, "labels", {"num_layers": 2}),
}


@pytest.fixture(scope="module", params=list(MODELS))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    kind, grid, condition, options = MODELS[request.param]
    prior = catalogue.prior(kind, grid, condition, **options)
    save = save_everywhere if kind is AnyOrderTransformer else tfprior.export.save
    path = save(prior, tmp_path_factory.mktemp("bundle") / "prior")
    return Exported(prior, path, OnnxSampler(path, threads=1))


def orders_of(prior: Prior, count: int) -> list[Any]:
    """Those to draw in: a raster prior's own, or several."""
    if not isinstance(prior, AnyOrderTransformer):
        return [None]
    each = np.tile(np.arange(prior.num_steps, dtype="int32"), (count, 1))
    return [None, "halton", np.random.default_rng(2).permuted(each, axis=1)]


@pytest.mark.slow("causal grey", "causal codes")
def test_every_method_draws_and_scores_as_keras_does(exported: Exported) -> None:
    prior, _, client = exported
    assert client.methods == ["step", "loop"]
    given, uniforms = condition_of(prior, 5), noise(prior, 5)
    for order in orders_of(prior, 5):
        along = {} if order is None else {"order": order}
        expected = sample(prior, 5, given, uniforms, temperature=0.8, **along)
        nats = prior.log_prob(expected, given, **along)
        for method in client.methods:
            values, log_prob = client.rollout(uniforms, given, 0.8, method, order=order)
            np.testing.assert_array_equal(values, expected, err_msg=method)
            np.testing.assert_allclose(log_prob, nats, rtol=1e-5, err_msg=method)
        np.testing.assert_allclose(client.log_prob(expected, given, order=order), nats, rtol=1e-5)


@pytest.mark.parametrize("hidden", ["some", "behind one", "none", "all"])
def test_what_is_known_is_taken_in_at_once(exported: Exported, hidden: str) -> None:
    prior, _, client = exported
    observed, given, uniforms = values_of(prior, 5), condition_of(prior, 5), noise(prior, 5)
    mask = np.random.default_rng(5).random((5, *prior.grid_shape[:2])) < {"none": 0, "all": 2}.get(
        hidden, 0.5
    )
    if hidden == "behind one":
        mask[:, 0, 0] = False
    known = {"observed": observed, "mask": mask}
    for order in orders_of(prior, 5):
        expected = sample(prior, 5, given, uniforms, order=order, **known)
        np.testing.assert_array_equal(expected[~mask], observed[~mask])
        np.testing.assert_array_equal(client.sample(5, given, uniforms, order=order, **known), expected)


def test_examples_join_whenever_they_come(exported: Exported) -> None:
    prior, _, client = exported
    mask = np.random.default_rng(5).random((4, *prior.grid_shape[:2])) < 0.5
    mask[:2, 0, :2] = False
    for order in orders_of(prior, 4):
        along = {} if order is None else {"order": order}
        known = {"observed": values_of(prior, 4), "mask": mask}
        for options in (along, {**along, **known}):
            assert_it_matters_to_none_when_it_joins(client, condition_of(prior, 4), **options)


def test_a_server_draws_along_orders(exported: Exported) -> None:
    prior, path, client = exported
    given = condition_of(prior, 2)
    ask = {"num_samples": 2, "seed": 3, "condition": None if given is None else given.tolist()}
    steps = list(range(prior.num_steps))
    with serving(path) as server:
        for order in [None] if isinstance(prior, CausalTransformer) else [None, "halton", steps[::-1]]:
            told = server.ask(path.name, "sample", **ask, order=order)
            expected = client.sample(2, given, seed=3, order=order)
            np.testing.assert_array_equal(told["values"], expected)
            scored = {"images": told["values"], "condition": ask["condition"], "order": order}
            nats = client.log_prob(expected, given, order=order)
            np.testing.assert_allclose(server.ask(path.name, "score", **scored)["log_prob"], nats, rtol=1e-5)
        wrong = server.ask(path.name, "sample", 400, **ask, order=[0] * prior.num_steps)
        assert "order" in wrong["error"]


def test_rows_come_as_they_are_drawn(exported: Exported) -> None:
    prior, _, client = exported
    given = condition_of(prior, 2)
    if isinstance(prior, AnyOrderTransformer):
        with pytest.raises(ValueError, match="this prior draws in any: use `sample`"):
            client.sample_rows(2, given, seed=1)
        return
    rows = np.stack(list(client.sample_rows(2, given, seed=1)), axis=1)
    np.testing.assert_array_equal(rows, client.sample(2, given, seed=1))


def test_serving_leads_it_by_signatures_without_dots(exported: Exported) -> None:
    prior, path, _ = exported
    signatures = tf.saved_model.load(str(path / "saved_model" / "1")).signatures
    assert set(signatures) == {"serving_default", "step", "prefill", "sample", "log_prob"}
    count, steps = 3, prior.num_steps
    given, uniforms = condition_of(prior, count), noise(prior, count)
    order = np.tile(np.arange(steps, dtype="int32"), (count, 1))
    expected = sample(prior, count, given, uniforms)
    takes = signatures["step"].structured_input_signature[1]
    past = {
        name: np.zeros((count, spec.shape[1], 0, spec.shape[3]), "float32")
        for name, spec in takes.items()
        if name.startswith("past_key_values_")
    }
    assert len(past) == 2 * len(prior.caching)
    flat, drawn = uniforms.reshape(count, steps, -1), np.zeros((count, steps, prior.grid_shape[-1]), "int32")
    for rank in range(steps):
        step = {
            **past,
            "previous": drawn[:, rank - 1],
            "previous_position": order[:, rank - 1],
            "position": order[:, rank],
            "uniforms": flat[:, rank],
            "temperature": np.ones(count, "float32"),
            "condition": given,
        }
        out = signatures["step"](**{name: tf.constant(step[name]) for name in takes})
        drawn[:, rank] = out["value"]
        past = {name: out[name.replace("past_key_values", "present")].numpy() for name in past}
    np.testing.assert_array_equal(drawn.reshape(expected.shape), expected)


def test_graphs_name_heads_and_lengths_as_language_models_do(exported: Exported) -> None:
    prior, path, client = exported
    (described,) = client.manifest.priors
    any_order = isinstance(prior, AnyOrderTransformer)
    assert described.orders == ("any" if any_order else "raster")
    assert described.cache is not None
    head_dim = prior.hidden_dim // 2
    assert dataclasses.astuple(described.cache) == (len(prior.caching), 2, head_dim, prior.grid_shape[-1])
    found = {
        name: {
            value.name: value.shape
            for value in (*session.get_inputs(), *session.get_outputs())
            if "." in value.name
        }
        for name in ("step", "prefill")
        for session in [onnxruntime.InferenceSession(str(path / "onnx" / f"{name}.onnx"))]
    }
    parts = [f"{layer}.{part}" for layer in range(len(prior.caching)) for part in ("key", "value")]
    present = {f"present.{part}": ["batch", 2, "present", head_dim] for part in parts}
    past = {f"past_key_values.{part}": ["batch", 2, "past", head_dim] for part in parts}
    assert found == {"step": {**past, **present}, "prefill": present}


def test_a_past_of_another_length_is_refused(exported: Exported) -> None:
    prior, _, client = exported
    cache = client.prior.cache
    assert cache is not None
    groups = prior.grid_shape[-1]

    def step(lengths: list[int], position: int, **changed: Any) -> dict[str, np.ndarray]:
        lengths = [*lengths, *lengths[-1:] * (2 * cache.layers - len(lengths))]
        names = [f"past_key_values.{n}.{part}" for n in range(cache.layers) for part in ("key", "value")]
        arrays = {
            name: np.zeros((2, cache.heads, length, cache.head_dim), "float32")
            for name, length in zip(names, lengths, strict=True)
        }
        at = np.full(2, position, "int32")
        rest = {
            "previous": np.zeros((2, groups), "int32"),
            "previous_position": at,
            "position": at,
            "uniforms": noise(prior, 2)[:, 0, 0],
            "temperature": np.ones(2, "float32"),
            "condition": condition_of(prior, 2),
        }
        return client.run("step", {**arrays, **rest, **changed})

    fits = step([2 * groups], 2)
    assert (fits["value"] >= 0).all()
    assert fits["present.0.key"].shape[2] == 3 * groups
    too_long = [2 * groups] if client.prior.orders == "raster" else [prior.num_steps * groups]
    for lengths, position in ((too_long, 3), *([([2 * groups + 1], 2)] if groups > 1 else [])):
        refused = step(lengths, position)
        assert (refused["value"] == -1).all()
        assert np.isnan(refused["log_prob"]).all()
    with pytest.raises(ValueError, match=r"'step' got past_key_values\.0\.value as float32"):
        step([2 * groups, 3 * groups], 2)
    with pytest.raises(ValueError, match=r"'step' got uniforms as float64 .*; expected float32"):
        step([2 * groups], 2, uniforms=np.zeros((2, groups)))
    with pytest.raises(ValueError, match=r"'step' got previous as int32 \(2, 5\); expected int32 \(2, "):
        step([2 * groups], 2, previous=np.zeros((2, 5), "int32"))


def test_orders_are_checked(exported: Exported) -> None:
    _, _, client = exported
    given = condition_of(exported.prior, 2)
    if client.prior.orders == "raster":
        with pytest.raises(ValueError, match="in raster order alone and got order='halton'; leave it out"):
            client.sample(2, given, order="halton")
        return
    with pytest.raises(ValueError, match="Unknown order 'spiral'; expected raster, halton"):
        client.sample(2, given, order="spiral")
    with pytest.raises(ValueError, match="no permutation of 0 … 5"):
        client.log_prob(values_of(exported.prior, 2), given, order=np.zeros(6, "int32"))
    refuse_positions_twice(exported.prior, client)


def refuse_positions_twice(prior: Prior, client: OnnxSampler) -> None:
    """The graphs themselves, of two orders of which the second one holds a position twice."""
    order = np.tile(np.arange(prior.num_steps, dtype="int32")[::-1], (2, 1))
    order[1, 0] = 0
    tensors = {
        "order": order,
        "values": values_of(prior, 2),
        "condition": condition_of(prior, 2),
        "uniforms": noise(prior, 2),
        "temperature": np.ones(2, "float32"),
    }
    drawn, nats = client.run("sample", tensors), client.run("log_prob", tensors)["log_prob"]
    assert ((drawn["values"] == -1).all((1, 2, 3)) == [False, True]).all()
    assert (drawn["values"][0] >= 0).all()
    np.testing.assert_array_equal(np.isnan(drawn["log_prob"]), [False, True])
    np.testing.assert_array_equal(np.isnan(nats), [False, True])


CHANGES: dict[str, tuple[Callable[[dict], object], str]] = {
    "no cache": (
        lambda prior: prior.update(cache=None),
        "cache and hidden_apart are both given, or both null",
    ),
    "one order": (lambda prior: prior.update(orders="raster"), "golden.order is given; expected null"),
    "no order": (lambda prior: prior["golden"].update(order=None), "golden.order has the shape None"),
    "a position twice": (
        lambda prior: prior["golden"]["order"][0].__setitem__(0, prior["golden"]["order"][0][1]),
        "golden.order has a position twice",
    ),
    "a position beyond": (
        lambda prior: prior["golden"]["order"][0].__setitem__(0, 6),
        r"golden.order lies in \[0, 6\]; expected \[0, 5\]",
    ),
    "more layers": (
        lambda prior: prior["cache"].update(layers=9),
        "ports of prefill.outputs are present.0",
    ),
    "layers without end": (
        lambda prior: prior["cache"].update(layers=2**30),
        "layers is 1073741824; expected a whole number from 1 to 4096",
    ),
    "more heads": (lambda prior: prior["cache"].update(heads=3), "has present.0.key float32"),
    "longer by three": (lambda prior: prior["cache"].update(per_step=3), "is longer by 3 a step; expected 1"),
}


@pytest.mark.parametrize("exported", ["any order codes"], indirect=True)
def test_manifests_that_contradict_themselves_are_refused(exported: Exported) -> None:
    for change, message in CHANGES.values():
        fields = plain(exported.client.manifest)
        change(fields["priors"][0])
        with pytest.raises(ValueError, match=message):
            from_plain(fields)


@pytest.mark.slow
def test_a_generator_draws_its_codes_in_raster_order(tmp_path: Path) -> None:
    prior = prior_like(AnyOrderTransformer, (4, 2, 1), num_layers=2, trained_orders="raster")
    generator = Generator(tokenizer(), prior)
    client = OnnxGenerator(tfprior.export.save(generator, tmp_path / "images", formats=("onnx",)))
    np.testing.assert_array_equal(client.sample(3, seed=1), generator.sample(3, seed=1))
    assert client.manifest.priors[0].orders == "raster"


def test_javascript_draws_the_same(exported: Exported) -> None:
    order = orders_of(exported.prior, 5)[-1]
    assert_draws_as_keras(exported.path, exported.prior, condition_of(exported.prior, 5), order)
