"""Writes encoders.npz: random weights, images and features of the encoders that others publish.

    pip install torch==2.13.0 transformers==5.24.0
    python tests/oracles/make_encoders.py

Weights stand under the names that transformers has for them in memory. `versions` tells which packages
computed the features.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from make_transformers import array, random_weights, under

FILE = Path(__file__).parent / "encoders.npz"

Arrays = dict[str, np.ndarray]


def outcome(model: Any, *shape: int, **options: Any) -> Arrays:
    """Weights, images (B, H, W, C), and what becomes of these."""
    images = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    features = random_weights(model)(images, **options).last_hidden_state
    return {
        **under(weights={name: array(weight) for name, weight in model.state_dict().items()}),
        "images": array(images).transpose(0, 2, 3, 1),
        "features": array(features),
    }


def vit() -> Arrays:
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}
    config = transformers.ViTConfig(image_size=(8, 12), patch_size=4, num_channels=2, **sizes)
    return outcome(transformers.ViTModel(config, add_pooling_layer=False), 2, 2, 8, 12)


def dinov2() -> Arrays:
    """With LayerScale, and positions that are interpolated to more rows and fewer columns."""
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "mlp_ratio": 2}
    config = transformers.Dinov2Config(image_size=12, patch_size=2, num_channels=1, **sizes)
    return outcome(transformers.Dinov2Model(config), 2, 1, 14, 8)


def swin() -> Arrays:
    """Maps of 12 × 24, 6 × 12 and 3 × 6: shifted windows, and those that are as large as the map."""
    sizes = {"embed_dim": 4, "depths": [2, 2, 2], "num_heads": [2, 4, 2], "mlp_ratio": 2.0}
    config = transformers.SwinConfig(image_size=(24, 48), patch_size=2, window_size=3, **sizes)
    return outcome(transformers.SwinModel(config, add_pooling_layer=False), 2, 3, 24, 48)


def main() -> None:
    with torch.no_grad():
        arrays = under(vit=vit(), dinov2=dinov2(), swin=swin())
    versions = f"torch {torch.__version__.partition('+')[0]}, transformers {transformers.__version__}"
    np.savez_compressed(FILE, versions=np.array(versions), **arrays)
    print(f"{FILE.name}: {len(arrays)} arrays by {versions}")


if __name__ == "__main__":
    main()
