"""A prior that sees: images like a given one, drawn in view of what an encoder has learned without labels.

    python examples/prior_with_eyes.py            # handwritten digits, some minutes
    python examples/prior_with_eyes.py --data fashion_mnist.npz --patch-size 4 --codes 256 --epochs 10

A masked autoencoder (arXiv:2111.06377) learns a ViT from the images alone. Its features of an image, frozen,
are the condition of a prior over the codes of a VQ-VAE, whose encoder is a ViT as well; so the prior draws
variations of an image instead of any image. How much it sees is measured: bits per code of images that
nothing was trained on, beside a prior without eyes and one that looks at another image.
"""

from pathlib import Path
from typing import Annotated, Any

import keras
import numpy as np
import typer
from rich.console import Console

from tfprior import data
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.encoders import Encoder, ViT
from tfprior.generator import Generator
from tfprior.pictures.sheets import save_grid
from tfprior.pretraining import MAE
from tfprior.priors import GatedPixelCNN
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE


def main(
    data_set: Annotated[str, typer.Option("--data")] = "digits",
    out: str = "runs/eyes",
    patch_size: int = 2,
    codes: int = 64,
    hidden_dim: int = 64,
    num_layers: int = 4,
    epochs: int = 30,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Trains eyes, tokenizer and priors; draws variations; returns bits a code of test images by each."""
    console, folder = Console(highlight=False, soft_wrap=True), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    images = data.load(data_set)
    how: dict[str, Any] = {"batch_size": batch_size, "epochs": epochs, "verbose": 2}

    def vit(**options: Any) -> ViT:
        sizes = {"num_layers": num_layers, "num_heads": 4, "hidden_dim": hidden_dim}
        return ViT(images.grid_shape, patch_size, **sizes, **options)

    console.print(f"[bold]1 · Eyes[/] that learn {images.name} from a quarter of each image")
    eyes = vit(positions="sin_cos")
    mae = MAE(eyes, decoder_dim=32, decoder_layers=2, decoder_heads=4)
    mae.compile(optimizer=keras.optimizers.AdamW(1e-3, weight_decay=0.05))
    x_train, x_test = (
        (part / (images.num_levels - 1)).astype("float32") for part in (images.x_train, images.x_test)
    )
    mae.fit(x_train, validation_data=(x_test,), **how)
    eyes.trainable = False
    seen_train, seen_test = seen(eyes, x_train), seen(eyes, x_test)

    console.print("\n[bold]2 · Tokenizer[/], a code for each patch of a ViT")
    tokenizer = VQVAE(
        images.grid_shape,
        VectorQuantizer(codes, 16),
        DiscretizedLogisticMixture(num_components=5, num_levels=images.num_levels),
        downsampling=patch_size,
        filters=64,
        num_residual_blocks=1,
        encoder=vit(),
    )
    tokenizer.compile(optimizer=keras.optimizers.Adam(1e-3), jit_compile=False)
    tokenizer.fit(images.x_train, validation_data=(images.x_test,), **how)
    grids_train, grids_test = tokenizer.encode(images.x_train), tokenizer.encode(images.x_test)

    console.print("\n[bold]3 · Priors[/] of the codes, blind and with eyes")
    blind, seeing = (
        GatedPixelCNN(
            tokenizer.code_shape,
            Categorical(codes),
            filters=64,
            num_layers=4,
            first_kernel_size=5,
            dropout=0.3,
            value_embedding_dim=16,
            condition_shape=shape,
        )
        for shape in (None, seen_train.shape[1:])
    )
    for prior, known in ((blind, {}), (seeing, {"condition": seen_train})):
        prior.compile(optimizer=keras.optimizers.Adam(1e-3))
        prior.fit({"values": grids_train, **known}, **how)
    bits = {
        "blind": blind.bits_per_dim(grids_test),
        "with eyes": seeing.bits_per_dim(grids_test, seen_test),
        "with eyes on another image": seeing.bits_per_dim(grids_test, np.roll(seen_test, 1, axis=0)),
    }
    scores = {name: float(each.mean()) for name, each in bits.items()}
    for name, score in scores.items():
        console.print(f"{score:7.3f} bits a code  {name}")

    shown, variations = images.x_test[:8], 7
    drawn = Generator(tokenizer, seeing).sample(
        len(shown) * variations, np.repeat(seen_test[: len(shown)], variations, axis=0), seed=seed
    )
    rows = np.concatenate([shown[:, None], drawn.reshape(len(shown), variations, *images.grid_shape)], axis=1)
    save_grid(
        rows.reshape(-1, *images.grid_shape), images.num_levels, folder / "variations.png", 1 + variations
    )
    console.print(f"each row an image and {variations} variations of it: {folder / 'variations.png'}")
    return scores


def seen(eyes: Encoder, images: np.ndarray) -> np.ndarray:
    """Images of floats in [0, 1] (N, H, W, C) → what the eyes make of all their patches (N, D)."""
    features = eyes.predict(images, verbose=0)
    return features[:, eyes.num_class_tokens :].mean(axis=1)


if __name__ == "__main__":
    typer.run(main)
