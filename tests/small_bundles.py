"""Small bundles, exported once and copied: as ONNX graphs alone unless they are to have other formats."""

import functools
import shutil
import tempfile
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
EXPORTED = tempfile.TemporaryDirectory(prefix="small_bundles-")


def save_prior(path: Path, num_classes: int | None = 2, formats: tuple[str, ...] = ("onnx",)) -> Path:
    """A tiny prior of classes, which have names if there are two."""
    return Path(shutil.copytree(exported_prior(num_classes, formats), path))


def save_generator(path: Path, formats: tuple[str, ...] = ("onnx",)) -> Path:
    """A tiny VQ-VAE of images (8, 4, 1) with the prior of its codes."""
    return Path(shutil.copytree(exported_generator(formats), path))


@functools.cache
def exported_prior(num_classes: int | None, formats: tuple[str, ...]) -> Path:
    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN(
        GRID, Categorical(LEVELS), filters=4, num_layers=1, first_kernel_size=3, num_classes=num_classes
    )
    names = CLASSES if num_classes == len(CLASSES) else None
    return tfprior.export.save(prior, new_path(), formats=formats, class_names=names)


@functools.cache
def exported_generator(formats: tuple[str, ...]) -> Path:
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL)
    return tfprior.export.save(Generator(tokenizer(), randomise(prior)), new_path(), formats=formats)


def new_path() -> Path:
    return Path(tempfile.mkdtemp(dir=EXPORTED.name), "bundle")
