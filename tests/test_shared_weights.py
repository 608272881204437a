"""Weights that graphs share: stored once, and read from where they are said to lie or not at all."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from bundle_files import edit_manifest, replace_file
from made_graphs import DOUBLE, YES, body, constant, loop, model, serialized, with_tensor
from onnx import TensorProto

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxSampler
from tfprior.export.graph_check import check_graph
from tfprior.export.onnx_graphs import subgraphs
from tfprior.export.shared_weights import gather
from tfprior.priors import GatedPixelCNN

SIZES = {"outer": 500, "large": 400, "small": 4}


@pytest.fixture(scope="module")
def prior() -> GatedPixelCNN:
    keras.utils.set_random_seed(0)
    return GatedPixelCNN((3, 4, 1), Categorical(4), filters=16, num_layers=2, first_kernel_size=3)


@pytest.fixture(scope="module")
def shared(prior: GatedPixelCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tfprior.export.save(prior, tmp_path_factory.mktemp("shared") / "prior", formats=("onnx",))


def test_each_weight_is_stored_once(prior: GatedPixelCNN, shared: Path) -> None:
    large = [weight for weight in prior.weights if np.prod(weight.shape) * 4 >= 1024]
    assert len(large) > 5
    stored = (shared / "onnx" / "weights.bin").stat().st_size
    expected = sum(int(np.prod(weight.shape)) * 4 for weight in large)
    # Masked kernels are stored without what their masks hide, and some graphs read other layouts.
    assert 0.5 * expected < stored < 1.5 * expected
    graphs = [file.stat().st_size for file in (shared / "onnx").glob("*.onnx")]
    assert len(graphs) == 6


def test_files_of_their_own_draw_the_same(prior: GatedPixelCNN, shared: Path, tmp_path: Path) -> None:
    alone = tfprior.export.save(prior, tmp_path / "alone", formats=("onnx",), single_files=True)
    assert not (alone / "onnx" / "weights.bin").exists()
    drawn = [OnnxSampler(path).sample(3, seed=1) for path in (shared, alone)]
    np.testing.assert_array_equal(*drawn)


def test_damaged_weights_are_refused(shared: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(shared, tmp_path / "prior"))
    weights = bundle / "onnx" / "weights.bin"
    content = bytearray(weights.read_bytes())
    content[99] ^= 1
    weights.write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.bin does not have the SHA-256"):
        OnnxSampler(bundle).sample(1)
    replace_file(bundle, "onnx/weights.bin", bytes(content)[:64])
    with pytest.raises(BundleError, match="behind the end of the shared weights"):
        OnnxSampler(bundle).sample(1)
    weights.unlink()
    edit_manifest(bundle, lambda m: m.update(files=[f for f in m["files"] if "weights" not in f["path"]]))
    with pytest.raises(BundleError, match=r"keeps .* in another file"):
        OnnxSampler(bundle).sample(1)


def test_weights_of_inner_graphs_lie_in_the_outermost_unless_they_share_a_name() -> None:
    outer, large, small = (constant(name, np.full(size, size), "float32") for name, size in SIZES.items())
    other = constant("outer", np.zeros(600), "float32")
    inner = body(DOUBLE)
    inner.initializer.extend([large, small, other])
    graph = model(loop("three", inner), constants=(YES, constant("three", 3), outer)).graph
    gather(graph)
    (within,) = (each for node in graph.node for each in subgraphs(node))
    assert [tensor.name for tensor in graph.initializer] == ["yes", "three", "outer", "large"]
    assert graph.initializer[-1] == large
    assert list(within.initializer) == [small, other]


def placed(**entries: str) -> bytes:
    """A graph whose tensor of 24 bytes lies elsewhere."""

    def change(tensor: TensorProto) -> None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return serialized(with_tensor(change))


def test_a_place_within_the_file_is_let_through() -> None:
    check_graph(placed(location="weights.bin", offset="64", length="24"), 88)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "weights.bin", "offset": "65", "length": "24"}, "behind the end"),
        ({"location": "weights.bin", "offset": "-1", "length": "24"}, "does not say where"),
        ({"location": "weights.bin", "offset": "9" * 30, "length": "24"}, "does not say where"),
        ({"location": "weights.bin", "offset": "0", "checksum": "1"}, "does not say where"),
        ({"location": "weights.bin", "offset": "0", "length": "20"}, "gives 20 bytes for it"),
        ({"location": "../weights.bin", "offset": "0", "length": "24"}, "in another file"),
        ({"location": "/etc/passwd", "offset": "0", "length": "24"}, "in another file"),
        ({"location": "weights.bin"}, "in another file"),
        ({}, "in another file"),
    ],
)
def test_any_other_place_is_refused(entries: dict[str, str], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        check_graph(placed(**entries), 88)
