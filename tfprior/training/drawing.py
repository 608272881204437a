"""Sheets of what models make, drawn while they train and when they are finished.

Shapes: N images · H W C grid.
"""

from pathlib import Path
from typing import Any

import numpy as np

from tfprior.image_model import ImageModel
from tfprior.masked_images import MaskedImages
from tfprior.pictures.sheets import save_completions, save_grid, save_masked, save_reconstructions
from tfprior.sampling.completion import completions_of
from tfprior.tokenizers.base import Tokenizer

NUM_RECONSTRUCTIONS = 32
NUM_COMPLETED, NUM_COMPLETIONS = 8, 4


def draw_samples(model: ImageModel, path: Path, seed: int, condition: Any = None, columns: int = 8) -> None:
    """Draws samples, a row for each class, ten at most; without classes as many rows as columns.

    Given conditions that are no classes, a sample for each, as many as without at most.
    """
    if model.num_classes is not None:
        condition = np.repeat(np.arange(min(10, model.num_classes)), columns)
    elif condition is not None:
        condition = condition[: columns**2]
    count = columns**2 if condition is None else len(condition)
    drawn = model.sample(count, condition, seed=seed, **model.sketching)
    save_grid(drawn, model.num_levels, path, columns)


def draw_completions(
    model: ImageModel, images: np.ndarray, mask: np.ndarray, path: Path, seed: int, condition: Any = None
) -> None:
    """Draws the first of the images (N, H, W, C), each beside completions of what the mask (H, W) hides."""
    images, condition = images[:NUM_COMPLETED], None if condition is None else condition[:NUM_COMPLETED]
    drawn = completions_of(model, images, mask, NUM_COMPLETIONS, condition, seed=seed, **model.sketching)
    save_completions(images, mask, drawn, model.num_levels, path)


def draw_reconstructions(model: Tokenizer | MaskedImages, images: np.ndarray, path: Path) -> None:
    """Draws the first of the images (N, H, W, C), each above what its codes, or its visible parts, give."""
    images = images[:NUM_RECONSTRUCTIONS]
    made: Any = model.reconstruct(images)
    if isinstance(model, MaskedImages):
        save_masked(made.images, made.masked, made.reconstruction, path)
    else:
        save_reconstructions(images, made, model.num_levels, path)
