"""ViT and Swin beside those of transformers, with their weights.

tests/oracles/make_encoders.py has written what these compute.
"""

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
