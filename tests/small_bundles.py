"""Small bundles, as ONNX graphs alone unless they are to have other formats."""

from pathlib import Path

import keras
from catalogue import randomise
from test_generator import SMALL, tokenizer

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN

GRID, LEVELS = (3, 4, 1), 4
CLASSES = ("even", "odd")


def save_prior(path: Path, num_classes: int | None = 2, formats: tuple[str, ...] = ("onnx",)) -> Path:
    """Exports a tiny prior of classes, which have names if there are two."""
    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN(
        GRID, Categorical(LEVELS), filters=4, num_layers=1, first_kernel_size=3, num_classes=num_classes
    )
    names = CLASSES if num_classes == len(CLASSES) else None
    return tfprior.export.save(prior, path, formats=formats, class_names=names)


def save_generator(path: Path, formats: tuple[str, ...] = ("onnx",)) -> Path:
    """Exports a tiny VQ-VAE of images (8, 4, 1) with the prior of its codes."""
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL)
    return tfprior.export.save(Generator(tokenizer(), randomise(prior)), path, formats=formats)
