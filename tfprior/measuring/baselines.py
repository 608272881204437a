"""What a prior has to beat: bits per dimension of models that learn next to nothing."""

import math

import numpy as np

from tfprior.image_files import bytes_alone, bytes_together, fits_files

AT_ONCE = 4096


def baseline_bits(
    train: np.ndarray, images: np.ndarray, num_levels: int, are_codes: bool = False
) -> dict[str, float]:
    """Bits per dimension of `images` (N, H, W, C): name → number, in the order below.

    "uniform" knows the levels only. "histogram" counts every level at every position of `train`, one added
    to each count (Laplace). "PNG" and "WebP", lossless, are the smallest files of the images, their names
    saying if of each alone or of all in one picture; they are left out of what they cannot hold: codes, above
    256 levels, other than 1 to 4 channels.

    Raises:
        ValueError: for grids of different shapes, or no images.
    """
    if train.ndim != 4 or train.shape[1:] != images.shape[1:] or not len(images):
        raise ValueError(
            f"Baselines got train {train.shape} and images {images.shape}; expected (N, H, W, C) each, with "
            "equal grids and at least one image."
        )
    bits = {"uniform": math.log2(num_levels), "histogram": histogram_bits(train, images, num_levels)}
    if not are_codes and fits_files(num_levels, images.shape[-1]):
        sizes = smallest_files(images, num_levels)
        bits.update({name: 8 * size / images.size for name, size in sizes.items()})
    return bits


def smallest_files(images: np.ndarray, num_levels: int) -> dict[str, int]:
    """Bytes of all images (N, H, W, C) in each format, whose name says if each is alone or all are in one."""
    smallest = {}
    for name, sizes in file_sizes(images, num_levels).items():
        layout = min(sizes, key=sizes.__getitem__)
        smallest[f"{name} ({layout})"] = sizes[layout]
    return smallest


def file_sizes(images: np.ndarray, num_levels: int) -> dict[str, dict[str, int]]:
    """Bytes of all images (N, H, W, C) as files: format → each alone or all in one picture → bytes."""
    alone, together = bytes_alone(images, num_levels), bytes_together(images, num_levels)
    return {name: {"each image alone": int(alone[name].sum()), **together[name]} for name in alone}


def histogram_bits(train: np.ndarray, images: np.ndarray, num_levels: int) -> float:
    """Bits per dimension under independent positions, each with its Laplace-smoothed histogram of `train`."""
    dims = math.prod(train.shape[1:])
    position = np.arange(dims)
    counts = np.ones((dims, num_levels))
    for start in range(0, len(train), AT_ONCE):
        some = train[start : start + AT_ONCE].reshape(-1, dims)
        np.add.at(counts, (np.broadcast_to(position, some.shape), some), 1)
    log2 = np.log2(counts / counts.sum(axis=1, keepdims=True))
    return float(-log2[position, images.reshape(-1, dims)].mean())
