"""VQ-VAE and Gated PixelCNN: images → codes → prior of the codes → new images → one exported bundle.

    python examples/vq_vae_pipeline.py            # handwritten digits, some minutes
    python examples/vq_vae_pipeline.py --data fashion_mnist.npz --codes 512 --code-dim 64 --downsampling 4 \
        --filters 128 --epochs 20

The two stages of van den Oord et al. 2017 (arXiv:1711.00937) in plain Keras. What a likelihood of the images
costs is reported as a bound, prior and decoder together, so it compares with priors over pixels. The bundle
is sampled at the end by ONNX Runtime, which needs neither Keras nor TensorFlow.
"""

from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import typer
from rich.console import Console

from tfprior import data, export
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.export.client import OnnxGenerator
from tfprior.generator import Generator
from tfprior.measuring import baseline_bits
from tfprior.pictures.sheets import save_grid, save_reconstructions
from tfprior.priors import GatedPixelCNN
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE
from tfprior.training import PictureLogger


def main(
    data_set: Annotated[str, typer.Option("--data")] = "digits",
    out: str = "runs/vq_vae",
    codes: int = 64,
    code_dim: int = 16,
    downsampling: int = 2,
    filters: int = 64,
    epochs: int = 40,
    batch_size: int = 32,
    seed: int = 0,
) -> dict[str, float]:
    """Trains both stages, measures, samples and exports; returns test bits per dimension beside baselines.

    Raises:
        RuntimeError: if the exported bundle draws other images than Keras.
    """
    console, folder = Console(highlight=False, soft_wrap=True), Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(seed)
    images = data.load(data_set)

    console.print(
        f"[bold]1 · Tokenizer[/] of {images.name}: every {downsampling} × {downsampling} pixels a code"
    )
    tokenizer = VQVAE(
        images.grid_shape,
        VectorQuantizer(codes, code_dim),
        DiscretizedLogisticMixture(num_components=5, num_levels=images.num_levels),
        downsampling=downsampling,
        filters=filters,
        num_residual_blocks=1,
    )
    tokenizer.compile(optimizer=keras.optimizers.Adam(2e-3), jit_compile=False)
    pictures, every = folder / "pictures", max(1, epochs // 4)
    tokenizer.fit(
        images.x_train,
        validation_data=(images.x_test,),
        batch_size=batch_size,
        epochs=epochs,
        verbose=2,
        callbacks=[PictureLogger(pictures, images.x_test, every=every)],
    )
    save_reconstructions(
        images.x_test[:16],
        tokenizer.reconstruct(images.x_test[:16]),
        images.num_levels,
        folder / "reconstructions.png",
    )

    console.print("\n[bold]2 · Prior[/] of the codes, given the class")
    prior = GatedPixelCNN(
        tokenizer.code_shape,
        Categorical(codes),
        filters=filters,
        num_layers=4,
        first_kernel_size=5,
        dropout=0.4,
        num_classes=images.num_classes,
        value_embedding_dim=code_dim,
    )
    prior.compile(optimizer=keras.optimizers.Adam(2e-3))
    generator = Generator(tokenizer, prior)
    prior.fit(
        inputs_of(tokenizer.encode(images.x_train), images.y_train),
        validation_data=(inputs_of(tokenizer.encode(images.x_test), images.y_test),),
        batch_size=batch_size,
        epochs=epochs,
        verbose=2,
        callbacks=[PictureLogger(pictures, every=every, model=generator, seed=seed)],
    )

    console.print("\n[bold]3 · Measuring[/] images the two have never seen")
    scores = {
        "VQ-VAE and prior, at most": float(generator.bits_per_dim(images.x_test, images.y_test).mean()),
        **baseline_bits(images.x_train, images.x_test, images.num_levels),
    }
    for name, bits in scores.items():
        console.print(f"{bits:7.4f} bits/dim  {name}")

    console.print("\n[bold]4 · New images[/], and a bundle that draws them without Keras")
    labels = None if images.num_classes is None else np.repeat(np.arange(min(10, images.num_classes)), 8)
    count = 64 if labels is None else len(labels)
    drawn = generator.sample(count, labels, seed=seed)
    save_grid(drawn, images.num_levels, folder / "samples.png", columns=8)
    bundle = export.save(generator, folder / "bundle", overwrite=True)
    exported = OnnxGenerator(bundle).sample(count, labels, seed=seed)
    differing = int((np.abs(exported - drawn) > 1).any(axis=(1, 2, 3)).sum())
    console.print(f"{count - differing} of {count} images from ONNX Runtime equal Keras's\n{folder}")
    if differing > 1:  # a uniform may round to another side of the CDF, and spoil an image
        raise RuntimeError(f"The bundle draws {differing} of {count} images differently; expected the same.")
    return scores


def inputs_of(codes: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
    """What a prior is fitted on."""
    return {"values": codes} if labels is None else {"values": codes, "condition": labels}


if __name__ == "__main__":
    typer.run(main)
