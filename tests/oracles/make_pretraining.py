"""Writes pretraining.npz: random weights, images and what masked image modelling of others makes of them.

    pip install torch==2.13.0 transformers==5.24.0
    python tests/oracles/make_pretraining.py

Weights stand under the names that transformers has for them in memory. `versions` tells which packages
computed the outcomes.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_transformers import array, random_weights, under
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

FILE = Path(__file__).parent / "pretraining.npz"
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}

Arrays = dict[str, np.ndarray]


def weights_of(model: Any) -> Arrays:
    return under(weights={name: array(weight) for name, weight in random_weights(model).state_dict().items()})


def uniforms(seed: int, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def positions(features: int) -> torch.Tensor:
    """Of a class token and 4 × 4 patches, as `ViTMAEDecoder.initialize_weights` makes them."""
    rows, columns = build_2d_sinusoidal_position_embedding(4, 4, features, cls_token=True).chunk(2, -1)
    return torch.cat([columns, rows], -1)[None]


def mae(norm_pix: bool) -> Arrays:
    """With the positions that published weights have, columns first."""
    decoder = {
        "decoder_hidden_size": 12,
        "decoder_num_hidden_layers": 1,
        "decoder_num_attention_heads": 3,
        "decoder_intermediate_size": 48,
    }
    config = transformers.ViTMAEConfig(
        image_size=12, patch_size=3, num_channels=2, norm_pix_loss=norm_pix, **SIZES, **decoder
    )
    model = transformers.ViTMAEForPreTraining(config)
    random_weights(model)
    model.vit.embeddings.position_embeddings.copy_(positions(8))
    model.decoder.decoder_pos_embed.copy_(positions(12))
    weights = under(weights={name: array(weight) for name, weight in model.state_dict().items()})
    images, noise = uniforms(1, 2, 2, 12, 12), uniforms(2, 2, 16)
    outputs = model(images, noise=noise)
    return {
        **weights,
        "images": array(images).transpose(0, 2, 3, 1),
        "noise": array(noise),
        "predicted": array(outputs.logits),
        "hidden": array(outputs.mask),
        "loss": array(outputs.loss),
    }


def simmim(model: Any, image_size: int, unit: int) -> Arrays:
    """Units are hidden by noise, as many in each image."""
    patches = unit // model.config.patch_size
    images, units = uniforms(1, 2, 3, image_size, image_size), image_size // unit
    noise = uniforms(2, 2, units**2)
    hidden = noise.argsort(1).argsort(1) >= units**2 - -(-(units**2) * 6 // 10)
    by_patch = hidden.reshape(2, units, units).repeat_interleave(patches, 1).repeat_interleave(patches, 2)
    weights = weights_of(model)
    outputs = model(images, bool_masked_pos=by_patch.reshape(2, -1))
    return {
        **weights,
        "images": array(images).transpose(0, 2, 3, 1),
        "noise": array(noise),
        "predicted": array(outputs.reconstruction).transpose(0, 2, 3, 1),
        "loss": array(outputs.loss),
    }


def simmim_vit() -> Arrays:
    config = transformers.ViTConfig(image_size=16, patch_size=4, encoder_stride=4, **SIZES)
    return simmim(transformers.ViTForMaskedImageModeling(config), 16, 4)


def simmim_swin() -> Arrays:
    """Units of 2 × 2 places of the last map, and 4 × 4 patches."""
    sizes = {"embed_dim": 4, "depths": [2, 2], "num_heads": [2, 4], "mlp_ratio": 2.0}
    config = transformers.SwinConfig(image_size=24, patch_size=2, window_size=3, encoder_stride=4, **sizes)
    return simmim(transformers.SwinForMaskedImageModeling(config), 24, 8)


def main() -> None:
    with torch.no_grad():
        arrays = under(
            mae=mae(False), mae_norm_pix=mae(True), simmim_vit=simmim_vit(), simmim_swin=simmim_swin()
        )
    versions = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
    np.savez_compressed(FILE, versions=np.array(versions), **arrays)
    print(f"{FILE.name}: {len(arrays)} arrays by {versions}")


if __name__ == "__main__":
    main()
