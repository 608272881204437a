"""What a prior has to beat: bits per dimension of models that learn next to nothing."""

import io
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

Format = Literal["PNG", "WebP"]
LONGEST = {"PNG": 2**31 - 1, "WebP": 16383}
"""Pixels on a side of a picture."""


def baseline_bits(
    train: np.ndarray, images: np.ndarray, num_levels: int, are_codes: bool = False
) -> dict[str, float]:
    """Bits per dimension of `images` (N, H, W, C): name → number, in the order below.

    "uniform" knows the levels only. "histogram" counts every level at every position of `train`, one added
    to each count (Laplace). "PNG" is the smallest that Pillow makes of the images, its name saying if of
    each alone or of all in one picture; it is left out where PNG does not fit (codes, above 256 levels, or
    other than 1 to 4 channels).

    Raises:
        ValueError: for grids of different shapes, or no images.
    """
    if train.ndim != 4 or train.shape[1:] != images.shape[1:] or not len(images):
        raise ValueError(
            f"Baselines got train {train.shape} and images {images.shape}; expected (N, H, W, C) each, with "
            "equal grids and at least one image."
        )
    bits = {"uniform": math.log2(num_levels), "histogram": histogram_bits(train, images, num_levels)}
    if not are_codes:
        sizes = picture_sizes(images, num_levels, formats=("PNG",))
        bits.update({name: 8 * size / images.size for name, size in sizes.items()})
    return bits


def picture_sizes(
    images: np.ndarray, num_levels: int, formats: Sequence[Format] = ("PNG", "WebP")
) -> dict[str, int]:
    """Bytes of all images (N, H, W, C) in each format without loss, the smallest that Pillow makes.

    The name says if of each image alone or of all in one picture; a format is left out where images do not
    fit: above 256 levels, or other than 1 to 4 channels.
    """
    if num_levels > 256 or images.shape[-1] > 4:
        return {}
    found = {}
    for name in formats:
        sizes = arranged_sizes(images.astype("uint8"), num_levels, name)
        if sizes:
            smallest = min(sizes, key=sizes.__getitem__)
            found[f"{name} ({smallest})"] = sizes[smallest]
    return found


def histogram_bits(train: np.ndarray, images: np.ndarray, num_levels: int) -> float:
    """Bits per dimension under independent positions, each with its Laplace-smoothed histogram of `train`."""
    dims = math.prod(train.shape[1:])
    position = np.arange(dims)
    counts = np.ones((dims, num_levels))
    np.add.at(counts, (np.broadcast_to(position, (len(train), dims)), train.reshape(-1, dims)), 1)
    log2 = np.log2(counts / counts.sum(axis=1, keepdims=True))
    return float(-log2[position, images.reshape(-1, dims)].mean())


def arranged_sizes(images: np.ndarray, num_levels: int, name: Format) -> dict[str, int]:
    """Bytes of all images (N, H, W, C) uint8: each alone, one below the other, and side by side.

    A picture that is too long for the format is left out.
    """
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    padded = np.concatenate([images, np.zeros((rows * columns - count, *images.shape[1:]), "uint8")])
    mosaic = padded.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    pictures = {
        "all in one column": images.reshape(count * height, width, channels),
        "all in one mosaic": mosaic.reshape(rows * height, columns * width, channels),
    }
    fitting = {"each image alone": list(images), **{where: [picture] for where, picture in pictures.items()}}
    return {
        where: sum(_size(picture, num_levels, name) for picture in some)
        for where, some in fitting.items()
        if max(some[0].shape) <= LONGEST[name]
    }


def _size(pixels: np.ndarray, num_levels: int, name: Format) -> int:
    """Bytes of one picture; a PNG is packed to 1, 2 or 4 bits a pixel where the levels allow, if smaller."""
    grey = pixels.shape[-1] == 1
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    if name == "WebP":
        return _saved(picture, "WEBP", lossless=True, quality=100, exact=True)
    sizes = [_saved(picture, "PNG", optimize=True)]
    if grey and num_levels <= 16:
        packed = picture.copy()
        packed.putpalette([level for level in range(num_levels) for _ in range(3)])
        bits = next(bits for bits in (1, 2, 4) if num_levels <= 2**bits)
        sizes.append(_saved(packed, "PNG", optimize=True, bits=bits))
    return min(sizes)


def _saved(picture: Image.Image, name: str, **options: Any) -> int:
    file = io.BytesIO()
    picture.save(file, name, **options)
    return file.tell()
