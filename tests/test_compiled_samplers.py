"""Compiled samplers: few traces serve all requests, weights are read anew, and nothing outlives its prior."""

import gc
import weakref
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import randomise
from drawing import SIZE, assert_same_integers, by_definition, noise

from tfprior import compilation
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.sampling import sample
from tfprior.sharding import few_sized_shards, run_in_shards, shards


@pytest.mark.xla
def test_other_seeds_and_options_do_not_trace_again(monkeypatch: pytest.MonkeyPatch) -> None:
    traces = []
    call = compilation._call

    def count(*arguments: Any) -> Any:
        traces.append(arguments)
        return call(*arguments)

    monkeypatch.setattr(compilation, "_call", count)
    prior = catalogue.prior(GatedPixelCNN, (2, 3, 1), "labels")
    options: dict[str, Any] = {"temperature": 1.0, "top_k": 2, "top_p": 0.9}
    sample(prior, 2, np.array([0, 1]), seed=0, **options)
    assert len(traces) == 1
    for seed, temperature, top_k, top_p in [
        (1, 0.5, 3, 0.3),
        (2, 2, 1, 1.0),
        (None, np.float64(3), np.int64(4), 1),
    ]:
        options = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
        sample(prior, 2, np.array([2, 0]), seed=seed, **options)
    assert len(traces) == 1
    sample(prior, 1, np.arange(1), seed=0, **options)
    assert len(traces) == 1  # for two cores, two samples are one each
    sample(prior, 8, np.arange(8) % 3, seed=0, **options)
    assert len(traces) == 2  # four each
    sample(prior, 5, np.arange(5) % 3, seed=0, **options)
    assert len(traces) == 2  # four and one


def test_a_few_sizes_serve_all_requests() -> None:
    def sizes(count: int) -> list[int]:
        return [len(part) for part in few_sized_shards(count, workers=2)]

    asked = [sizes(count) for count in range(1, 21)]
    assert {size for each in asked for size in each} == {1, 4, 8}
    assert asked[:6] == [[1], [1, 1], [4], [4], [4, 1], [4, 4]]
    assert asked[15:18] == [[8, 8], [8, 8, 1], [8, 8, 4]]
    assert sizes(1000) == [128] * 8
    # An accelerator takes whatever comes at once.
    assert [len(part) for part in few_sized_shards(33, 1, 1024, overhead=1024)] == [64]


@pytest.mark.parametrize("size", [1, 7, 8, 9, 23, 100, 1000])
@pytest.mark.parametrize("divide", [shards, few_sized_shards])
def test_shards_share_out_all_examples(size: int, divide: Any) -> None:
    parts = divide(size, workers=2, most=32)
    assert len({len(part) for part in parts[:-1]}) <= 1
    assert max(map(len, parts)) <= 32
    np.testing.assert_array_equal(np.unique(np.concatenate(parts)), np.arange(size))
    (joined,) = run_in_shards(lambda index: (index * 2,), parts)
    np.testing.assert_array_equal(joined, np.arange(size) * 2)


@pytest.mark.xla
def test_compiled_samplers_honour_changed_weights() -> None:
    prior = catalogue.prior(GatedPixelCNN, (2, 3, 1))
    uniforms = noise(prior)
    before = sample(prior, SIZE, uniforms=uniforms)
    randomise(prior, seed=7)
    after = sample(prior, SIZE, uniforms=uniforms)
    assert (before != after).any()
    assert_same_integers(after, by_definition(prior, uniforms))


@pytest.mark.slow("PixelCNN-", "PixelCNNPP")
@pytest.mark.xla
@pytest.mark.parametrize(
    ("kind", "method"), [(PixelCNN, "cached"), (PixelCNN, "full"), (PixelCNNPP, "cached")]
)
def test_a_sampled_prior_can_be_collected(kind: Any, method: Any) -> None:
    prior = catalogue.prior(kind, (2, 2, 1))
    sample(prior, 1, seed=0, method=method)
    alive = weakref.ref(prior)
    entries = len(compilation._COMPILED)
    del prior
    gc.collect()
    assert alive() is None
    gc.collect()  # what was only kept for the prior: its copy with plain kernels
    assert len(compilation._COMPILED) < entries
