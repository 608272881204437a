"""Runs that take a second or two: small data, models and options."""

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.console import Console

from tfprior.data import CodesOrigin, Images, encode_images
from tfprior.runs import load_tokenizer
from tfprior.training import TrainingOptions

TOKENIZER = {
    "name": "vq_vae",
    "codebook_size": 6,
    "code_dim": 3,
    "downsampling": 1,
    "filters": 4,
    "num_residual_blocks": 1,
    "output": "categorical",
}
MODEL = {"name": "pixel_cnn", "filters": 4, "num_layers": 1, "first_kernel_size": 3}
QUIET = Console(file=io.StringIO())


def made(count: int = 40, levels: int = 4) -> Images:
    rng = np.random.default_rng(0)

    def part(size: int) -> np.ndarray:
        return rng.integers(levels, size=(size, 4, 5, 1)).astype("uint8")

    return Images("made", part(count), np.arange(count) % 3, part(9), np.arange(9) % 3, levels)


def options(**changes: Any) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 3, "batch_size": 8, **changes})


def coded(images: Images, tokenizer: Path, **changes: Any) -> Images:
    model = load_tokenizer(tokenizer)
    origin = CodesOrigin(str(tokenizer), model.weights_digest(), {"name_or_path": images.name})
    return dataclasses.replace(encode_images(model, images, origin, progress=False), **changes)


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
