"""Holes of five shapes, filled by a prior in raster order and by one in any: VQ codes → priors → completions.

    python examples/any_order_completion.py               # handwritten digits, some minutes
    python examples/any_order_completion.py --data fashion_mnist.npz --codes 256 --downsampling 4 --minutes 10

A raster prior draws a hidden code given those above and to the left of it, known or drawn; what is known
below has no say. An any-order prior (arXiv:2503.10568) places all that is known first, and so draws by the
exact conditional distribution. Both learn the same codes for as many minutes; then each is asked how many
bits the hidden codes of test images take, given what it looks at.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from tfprior import data
from tfprior.data import CodesOrigin, encode_images
from tfprior.generator import Generator
from tfprior.measuring import baseline_bits
from tfprior.orders import known_first, raster
from tfprior.pictures.sheets import save_completions
from tfprior.sampling.completion import completions_of
from tfprior.sampling.masks import PARTS, hidden_part
from tfprior.training import TrainingOptions, train

RASTER, ANY_ORDER = "gated_pixel_cnn", "any_order_transformer"


def main(
    data_set: Annotated[str, typer.Option("--data")] = "digits",
    out: str = "runs/any_order",
    codes: int = 64,
    code_dim: int = 16,
    downsampling: int = 2,
    minutes: float = 2.0,
    epochs: int | None = None,
    num_layers: int = 6,
    images_shown: int = 6,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Trains a tokenizer and both priors, measures and draws; returns bits a hidden code for each hole."""
    console, folder = Console(highlight=False, soft_wrap=True), Path(out)
    options = TrainingOptions(minutes=None if epochs else minutes, epochs=epochs, seed=seed)
    source = {"name_or_path": data_set}
    images = data.load(data_set)
    tokens = {"codebook_size": codes, "code_dim": code_dim, "downsampling": downsampling}
    run = train(images, {"name": "vq_vae", **tokens}, folder / "tokenizer", options, source, console=console)
    tokenizer = run.load()
    origin = CodesOrigin(str(run.path), tokenizer.weights_digest(), source)
    coded = encode_images(tokenizer, images, origin, progress=False)
    priors = {
        name: train(
            coded, {"name": name, "num_layers": num_layers}, folder / name, options, console=console
        ).load()
        for name in (RASTER, ANY_ORDER)
    }

    grids, names = coded.x_test, ("all", *PARTS)
    masks = {name: hidden_part(name, tokenizer.code_shape) for name in PARTS}
    masks["all"] = np.full(tokenizer.code_shape[:2], True)
    bits = {
        prior: {name: bits_a_hidden_code(priors[prior], grids, masks[name]) for name in names}
        for prior in priors
    }
    table = Table(title=f"Bits a hidden code, {len(grids)} test images of {images.name}")
    for heading in ("hidden", *priors):
        table.add_column(heading)
    for name in names:
        table.add_row(name, *(f"{bits[prior][name]:.3f}" for prior in priors))
    console.print(table)
    mixture = priors[ANY_ORDER].bits_per_dim(grids, orders=8).mean()
    console.print(f"{mixture:.3f} bits a code of a mixture of 8 orders")
    for name, of_positions in baseline_bits(coded.x_train, grids, codes).items():
        console.print(f"{of_positions:.3f} bits a code, {name}")

    for prior, model in priors.items():
        generator = Generator(tokenizer, model)
        for name in PARTS:
            draw(generator, images.x_test[:images_shown], name, folder / f"{name}_{prior}.png", seed)
    console.print(f"completions of {', '.join(PARTS)} by each: {folder}")
    return bits


def bits_a_hidden_code(prior: Any, grids: np.ndarray, hidden: np.ndarray) -> float:
    """Of codes (N, H, W, C), each given what the prior looks at when it completes them, hidden (H, W)."""
    known = {}
    if prior.drawing_order(None, 1, hidden[None]) is not None:
        known["order"] = known_first(raster(*hidden.shape), hidden.reshape(1, -1))[0]
    nats = prior.pixel_log_prob(grids, **known)[:, hidden]
    return float(-nats.mean() / np.log(2))


def draw(generator: Generator, images: np.ndarray, name: str, path: Path, seed: int) -> None:
    """Five completions of each image, beside what is known of it."""
    mask = np.kron(
        hidden_part(name, generator.tokenizer.code_shape),
        np.ones((generator.tokenizer.downsampling,) * 2, bool),
    )
    drawn = completions_of(generator, images, mask, 5, seed=seed)
    save_completions(images, mask, drawn, generator.num_levels, path)


if __name__ == "__main__":
    typer.run(main)
