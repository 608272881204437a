"""Small bundles, and how somebody changes them who knows the format: hashes and digests are right again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import keras
from catalogue import randomise
from test_generator import SMALL, tokenizer

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export.manifest_file import sealed
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN

GRID, LEVELS = (3, 4, 1), 4


def save_prior(path: Path) -> Path:
    """Exports a tiny prior of two classes as ONNX graphs."""
    keras.utils.set_random_seed(0)
    prior = GatedPixelCNN(
        GRID, Categorical(LEVELS), filters=4, num_layers=1, first_kernel_size=3, num_classes=2
    )
    return tfprior.export.save(prior, path, formats=("onnx",))


def save_generator(path: Path) -> Path:
    """Exports a tiny VQ-VAE of images (8, 4, 1) with the prior of its codes as ONNX graphs."""
    prior = GatedPixelCNN((4, 2, 1), Categorical(4), **SMALL)
    return tfprior.export.save(Generator(tokenizer(), randomise(prior)), path, formats=("onnx",))


def edit_manifest(bundle: Path, edit: Callable[[dict], object]) -> None:
    """Edits the parsed manifest and seals it again."""
    file = bundle / "manifest.json"
    fields = json.loads(file.read_text())
    edit(fields)
    file.write_text(sealed(fields))


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Writes another file in the place of one that the manifest lists."""

    def describe(fields: dict) -> None:
        (entry,) = (entry for entry in fields["files"] if entry["path"] == name)
        entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    (bundle / name).write_bytes(content)
    edit_manifest(bundle, describe)
