"""MAE and SimMIM beside those of transformers, with their weights.

tests/oracles/make_pretraining.py has written what those of transformers compute.
"""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from tfprior.encoders import Swin, ViT, load_safetensors, save_safetensors
from tfprior.layers.patches import images_of
from tfprior.pretraining import MAE, SimMIM

ALL = dict(np.load(Path(__file__).parent / "oracles" / "pretraining.npz"))
of_numpy = pytest.importorskip("safetensors.numpy", reason="the extra `weights` is not installed")
load_file, save_file = of_numpy.load_file, of_numpy.save_file


def of_case(case: str, model: MAE | SimMIM, tmp_path: Path) -> dict[str, np.ndarray]:
    """The arrays of the case, whose weights the model has, encoder, decoder and all."""
    found = {name.removeprefix(f"{case}/"): each for name, each in ALL.items() if name.startswith(f"{case}/")}
    weights = {name.removeprefix("weights/"): each for name, each in found.items() if "weights/" in name}
    save_file(weights, tmp_path / "theirs.safetensors")
    assert all("index" in name for name in load_safetensors(model, tmp_path / "theirs.safetensors"))
    save_safetensors(model, tmp_path / "ours.safetensors", "hugging_face_5")
    for name, array in load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_allclose(array, weights[name], atol=1e-6)
    return found


@pytest.mark.parametrize("norm_pix", [False, True])
def test_mae(norm_pix: bool, tmp_path: Path) -> None:
    encoder = ViT((12, 12, 2), 3, 2, 2, 8, mlp_dim=20, positions="sin_cos", epsilon=1e-12)
    model = MAE(encoder, 0.75, decoder_dim=12, decoder_layers=1, decoder_heads=3, norm_pix=norm_pix)
    theirs = of_case("mae_norm_pix" if norm_pix else "mae", model, tmp_path)
    predicted = model(theirs["images"], noise=theirs["noise"])
    np.testing.assert_array_equal(predicted.hidden, theirs["hidden"] == 1)
    np.testing.assert_allclose(predicted.patches, theirs["predicted"], atol=1e-5)
    loss = model.compute_loss(theirs["images"], y_pred=predicted)
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)


@pytest.mark.parametrize("case", ["simmim_vit", "simmim_swin"])
def test_simmim(case: str, tmp_path: Path) -> None:
    encoder, unit_size = (
        (ViT((16, 16, 3), 4, 2, 2, 8, mlp_dim=20, epsilon=1e-12), 4)
        if case == "simmim_vit"
        else (Swin((24, 24, 3), 2, (2, 2), (2, 4), 4, window_size=3, mlp_ratio=2), 8)
    )
    model = SimMIM(encoder, 0.6, unit_size)
    theirs = of_case(case, model, tmp_path)
    predicted = model(theirs["images"], noise=theirs["noise"])
    images = images_of(predicted.patches, model.stride, encoder.feature_size)
    np.testing.assert_allclose(ops.convert_to_numpy(images), theirs["predicted"], atol=1e-5)
    loss = model.compute_loss(theirs["images"], y_pred=predicted)
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
