"""The catalogue's entries as parametrizations, and a built example of each that tests share."""

import functools
from typing import Any

import numpy as np
import pytest
from catalogue import (
    CLASSIFIERS,
    DISTRIBUTIONS,
    ENCODERS,
    LAYERS,
    MASKED_PRIORS,
    PRETRAINING,
    PRIORS,
    QUANTIZERS,
    TOKENIZERS,
    Entry,
    randomise,
)
from keras import tree


def first_of_each_kind(entries: list[Entry]) -> list[Any]:
    """The entries, all but one of each kind marked `slow`."""
    first = {entry.kind: entry for entry in reversed(entries)}
    return [
        entry if first[entry.kind] is entry else pytest.param(entry, marks=pytest.mark.slow)
        for entry in entries
    ]


each_layer = pytest.mark.parametrize("entry", LAYERS, ids=str)
each_distribution = pytest.mark.parametrize("entry", DISTRIBUTIONS, ids=str)
EACH_PRIOR = [*PRIORS, *MASKED_PRIORS]
each_prior = pytest.mark.parametrize("entry", EACH_PRIOR, ids=str)
each_kind_of_prior = pytest.mark.parametrize("entry", first_of_each_kind(EACH_PRIOR), ids=str)
each_tokenizer = pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
NETWORKS = [*LAYERS, *ENCODERS, *CLASSIFIERS, *EACH_PRIOR]
each_network = pytest.mark.parametrize("entry", NETWORKS, ids=str)
ALL = [*LAYERS, *QUANTIZERS, *ENCODERS, *EACH_PRIOR, *TOKENIZERS]
each_of_all = pytest.mark.parametrize("entry", ALL, ids=str)
each_kind_of_all = pytest.mark.parametrize("entry", first_of_each_kind(ALL), ids=str)
each_with_config = pytest.mark.parametrize("entry", [*ALL, *PRETRAINING], ids=str)


def built(entry: Entry) -> Any:
    network = entry.build()
    network(entry.inputs())
    return randomise(network)


example_of = functools.cache(built)
"""Networks that no test changes."""


def assert_equal(first: Any, second: Any, atol: float = 0.0) -> None:
    for a, b in zip(tree.flatten(first), tree.flatten(second), strict=True):
        np.testing.assert_allclose(np.asarray(a, "float32"), np.asarray(b, "float32"), rtol=0, atol=atol)
