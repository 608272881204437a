"""Graphs that no export would hold are refused from their bytes alone, in one sentence."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundle_files import replace_file
from hostile_graphs import HOSTILE
from made_graphs import (
    RIGHT,
    model,
    node,
    serialized,
)

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export.client import OnnxSampler
from tfprior.export.graph_check import OPERATORS, check_graph
from tfprior.export.manifest import BundleError
from tfprior.priors import GatedPixelCNN


@pytest.mark.parametrize("name", RIGHT)
def test_what_exports_are_made_of_is_let_through(name: str, tmp_path: Path) -> None:
    check_graph(serialized(RIGHT[name]))
    (tmp_path / "x.onnx").write_bytes(serialized(RIGHT[name]))
    check_graph(tmp_path / "x.onnx")


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_in_one_sentence(name: str) -> None:
    made, message = HOSTILE[name]
    with pytest.raises(BundleError, match=f"no graph of an export: it ({message})") as error:
        check_graph(serialized(made))
    assert re.fullmatch(r"[^\n]*; export the bundle again, or do not use it\.", str(error.value))


def test_a_cycle_is_followed_once() -> None:
    ring = [node("Identity", ["b"], ["a"]), node("Identity", ["a"], ["b"]), node("Expand", ["x", "a"], ["y"])]
    check_graph(serialized(model(*ring)))  # ONNX Runtime refuses it


def every_node(graph: onnx.GraphProto) -> Iterator[tuple[onnx.GraphProto, onnx.NodeProto]]:
    for one in graph.node:
        yield graph, one
        for part in one.attribute:
            if part.HasField("g"):
                yield from every_node(part.g)


def is_harmless(data: bytes) -> bool:
    """What ONNX's own reader finds in bytes that were let through."""
    try:
        made = onnx.load_from_string(data)
    except Exception:
        return True  # so does no runtime
    tensors = [tensor for graph, _ in every_node(made.graph) for tensor in graph.initializer]
    nodes = [one for _, one in every_node(made.graph)]
    return (
        not made.functions
        and not any(tensor.external_data or tensor.data_location for tensor in tensors)
        and all(one.op_type in OPERATORS and not one.domain for one in nodes)
        and all(one.input[0] for one in nodes if one.op_type == "Loop")
    )


def outcome(data: bytes) -> str:
    try:
        check_graph(data)
    except BundleError as error:
        return "refused" if "\n" not in str(error) else "raw"
    except Exception:
        return "raw"
    return "right" if is_harmless(data) else "wrong"


@pytest.mark.parametrize("name", RIGHT)
def test_a_graph_cut_anywhere_is_refused_or_whole(name: str) -> None:
    data = serialized(RIGHT[name])
    outcomes = [outcome(data[:length]) for length in range(len(data))]
    assert set(outcomes) == {"refused"}  # the opset comes last


@pytest.mark.parametrize("seed", range(4))
def test_graphs_with_changed_bytes_are_refused_or_harmless(seed: int) -> None:
    random = np.random.default_rng(seed)
    seeds = [serialized(made) for made in RIGHT.values()]
    counts = dict.fromkeys(("refused", "right", "wrong", "raw"), 0)
    for _ in range(500):
        data = bytearray(seeds[random.integers(len(seeds))])
        for _ in range(random.integers(1, 4)):
            place = random.integers(len(data))
            if random.random() < 0.5:
                data[place] ^= 1 << random.integers(8)
            elif random.random() < 0.5:
                data[place] = random.integers(256)
            else:
                start = random.integers(len(data))
                data[place:place] = data[start : start + random.integers(1, 40)]
        counts[outcome(bytes(data))] += 1
    assert counts["wrong"] == counts["raw"] == 0, counts
    assert counts["refused"] > 100
    assert counts["right"] > 10


def test_a_hostile_graph_with_the_right_hash_is_refused(tmp_path: Path) -> None:
    prior = GatedPixelCNN((2, 3, 1), Categorical(3), filters=4, num_layers=1, first_kernel_size=3)
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("onnx",))
    for entry in (path / "onnx").iterdir():
        check_graph(entry)
    file = path / "onnx" / "sample.onnx"
    made = onnx.load(file)
    (endless,) = [one for one in made.graph.node if one.op_type == "Loop"]
    endless.input[0] = ""
    replace_file(path, "onnx/sample.onnx", made.SerializeToString())
    with pytest.raises(BundleError, match=r"sample\.onnx is no graph of an export: it has a Loop without"):
        OnnxSampler(path).sample(1, seed=0, method="loop")
    with pytest.raises(BundleError, match=r"it has a Loop without a constant number of iterations"):
        tfprior.export.verify(path)
