"""What a prior has to beat: bits per dimension of models that learn next to nothing."""

import io
import math

import numpy as np
from PIL import Image


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
    if not are_codes and num_levels <= 256 and images.shape[-1] <= 4:
        sizes = png_sizes(images.astype("uint8"), num_levels)
        smallest = min(sizes, key=sizes.__getitem__)
        bits[f"PNG ({smallest})"] = 8 * sizes[smallest] / images.size
    return bits


def histogram_bits(train: np.ndarray, images: np.ndarray, num_levels: int) -> float:
    """Bits per dimension under independent positions, each with its Laplace-smoothed histogram of `train`."""
    dims = math.prod(train.shape[1:])
    position = np.arange(dims)
    counts = np.ones((dims, num_levels))
    np.add.at(counts, (np.broadcast_to(position, (len(train), dims)), train.reshape(-1, dims)), 1)
    log2 = np.log2(counts / counts.sum(axis=1, keepdims=True))
    return float(-log2[position, images.reshape(-1, dims)].mean())


def png_sizes(images: np.ndarray, num_levels: int) -> dict[str, int]:
    """Bytes of all images (N, H, W, C) uint8 as PNG: each alone, one below the other, and side by side."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    padded = np.concatenate([images, np.zeros((rows * columns - count, *images.shape[1:]), "uint8")])
    mosaic = padded.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return {
        "each image alone": sum(_png_size(image, num_levels) for image in images),
        "all in one column": _png_size(images.reshape(count * height, width, channels), num_levels),
        "all in one mosaic": _png_size(mosaic.reshape(rows * height, columns * width, channels), num_levels),
    }


def _png_size(pixels: np.ndarray, num_levels: int) -> int:
    """Bytes of one picture, packed to 1, 2 or 4 bits a pixel where the levels allow and it is smaller."""
    grey = pixels.shape[-1] == 1
    picture = Image.fromarray(pixels[..., 0] if grey else pixels)
    sizes = [_saved(picture)]
    if grey and num_levels <= 16:
        packed = picture.copy()
        packed.putpalette([level for level in range(num_levels) for _ in range(3)])
        sizes.append(_saved(packed, bits=next(bits for bits in (1, 2, 4) if num_levels <= 2**bits)))
    return min(sizes)


def _saved(picture: Image.Image, **options: int) -> int:
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True, **options)
    return file.tell()
