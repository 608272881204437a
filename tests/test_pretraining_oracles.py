"""MAE and SimMIM beside those of transformers, with their weights.

tests/oracles/make_pretraining.py has written what those of transformers compute.
"""

from pathlib import Path

import numpy as np
import pytest
from keras import ops

from tfprior.encoders import Encoder, Swin, ViT, load_safetensors
from tfprior.layers.patches import images_of
from tfprior.pretraining import MAE, SimMIM
from tfprior.pretraining.decoder import PatchDecoder

ALL = dict(np.load(Path(__file__).parent / "oracles" / "pretraining.npz"))
save_file = pytest.importorskip("safetensors.numpy", reason="the extra `weights` is not installed").save_file


def of_case(case: str, encoder: Encoder, tmp_path: Path) -> dict[str, np.ndarray]:
    """Weights of the case, which the encoder has those of that it has a place for, and the other arrays."""
    found = {name.removeprefix(f"{case}/"): each for name, each in ALL.items() if name.startswith(f"{case}/")}
    weights = {name.removeprefix("weights/"): each for name, each in found.items() if "weights/" in name}
    save_file(weights, tmp_path / "theirs.safetensors")
    load_safetensors(encoder, tmp_path / "theirs.safetensors")
    return {**found, **weights}


def set_decoder(decoder: PatchDecoder, theirs: dict[str, np.ndarray]) -> None:
    """Dense kernels stand transposed."""

    def dense(*names: str) -> list[np.ndarray]:
        of = [[theirs[f"decoder.{name}.{suffix}"].T for name in names] for suffix in ("weight", "bias")]
        return [np.concatenate(arrays, -1) for arrays in of]

    def norm(name: str) -> list[np.ndarray]:
        return [theirs[f"decoder.{name}.weight"], theirs[f"decoder.{name}.bias"]]

    np.testing.assert_allclose(decoder.positions, theirs["decoder.decoder_pos_embed"][0, 1:], atol=1e-6)
    assert not theirs["decoder.decoder_pos_embed"][0, 0].any()
    decoder.mask_token.assign(theirs["decoder.mask_token"][0, 0])
    decoder.embed.set_weights(dense("decoder_embed"))
    decoder.norm.set_weights(norm("decoder_norm"))
    decoder.predict.set_weights(dense("decoder_pred"))
    for index, block in enumerate(decoder.blocks):
        own = f"decoder_layers.{index}"
        block.attention.query.set_weights(dense(f"{own}.attention.q_proj"))
        block.attention.key_value.set_weights(dense(f"{own}.attention.k_proj", f"{own}.attention.v_proj"))
        block.attention.result.set_weights(dense(f"{own}.attention.o_proj"))
        block.feed_forward.expand.set_weights(dense(f"{own}.mlp.fc1"))
        block.feed_forward.contract.set_weights(dense(f"{own}.mlp.fc2"))
        block.attention_norm.set_weights(norm(f"{own}.layernorm_before"))
        block.feed_forward_norm.set_weights(norm(f"{own}.layernorm_after"))


@pytest.mark.parametrize("norm_pix", [False, True])
def test_mae(norm_pix: bool, tmp_path: Path) -> None:
    encoder = ViT((12, 12, 2), 3, 2, 2, 8, mlp_dim=20, positions="sin_cos", epsilon=1e-12)
    theirs = of_case("mae_norm_pix" if norm_pix else "mae", encoder, tmp_path)
    model = MAE(encoder, 0.75, decoder_dim=12, decoder_layers=1, decoder_heads=3, norm_pix=norm_pix)
    set_decoder(model.decoder, theirs)
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
    theirs = of_case(case, encoder, tmp_path)
    model = SimMIM(encoder, 0.6, unit_size)
    token = "vit" if case == "simmim_vit" else "swin"
    model.mask_token.assign(theirs[f"{token}.embeddings.mask_token"].reshape(-1))
    # A pixel shuffle has the channels outside, and patches have them inside.
    kernel = theirs["decoder.0.weight"].reshape(3, model.stride, model.stride, -1)
    bias = theirs["decoder.0.bias"].reshape(3, model.stride, model.stride)
    kernel = kernel.transpose(1, 2, 0, 3).reshape(model.num_pixels, -1).T
    model.head.set_weights([kernel, bias.transpose(1, 2, 0).reshape(-1)])
    predicted = model(theirs["images"], noise=theirs["noise"])
    images = images_of(predicted.patches, model.stride, encoder.feature_size)
    np.testing.assert_allclose(ops.convert_to_numpy(images), theirs["predicted"], atol=1e-5)
    loss = model.compute_loss(theirs["images"], y_pred=predicted)
    np.testing.assert_allclose(loss, theirs["loss"], rtol=1e-5)
