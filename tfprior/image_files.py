"""Integer images as lossless files, PNG and WebP: how many bytes they take.

Shapes: N images · H W C.
"""

import io
import math

import numpy as np
from PIL import Image

FORMATS = ("PNG", "WebP")
MAX_LEVELS, MAX_CHANNELS = 256, 4
MAX_WEBP_SIDE = 16_383


def fits_files(num_levels: int, channels: int) -> bool:
    """Whether both formats hold images of so many levels and channels."""
    return num_levels <= MAX_LEVELS and 1 <= channels <= MAX_CHANNELS


def check_fits_files(num_levels: int, channels: int) -> None:
    """Raises ValueError unless both formats hold images of so many levels and channels."""
    if not fits_files(num_levels, channels):
        raise ValueError(
            f"Got images of {num_levels} levels and {channels} channels; PNG and WebP hold at most "
            f"{MAX_LEVELS} levels and 1 to {MAX_CHANNELS} channels: measure images of that kind."
        )


def encode(pixels: np.ndarray, num_levels: int, format: str) -> bytes:
    """The file of one image (H, W, C), the smallest of those tried; levels stand in it as they are.

    Of grey images with up to 16 levels a PNG is also tried packed, as a palette of 1, 2 or 4 bits a pixel.

    Raises:
        ValueError: for more than 256 levels, other than 1 to 4 channels, or another format.
    """
    check_fits_files(num_levels, pixels.shape[-1])
    if format not in FORMATS:
        raise ValueError(f"Unknown format {format!r}; expected one of {', '.join(FORMATS)}.")
    grey = pixels.shape[-1] == 1
    picture = Image.fromarray((pixels[..., 0] if grey else pixels).astype("uint8"))
    if format == "WebP":
        # Higher settings take minutes for a large picture, and less than one per cent off it.
        return saved(picture, "WEBP", lossless=True, exact=True, method=4, quality=75)
    files = [saved(picture, "PNG", optimize=True)]
    if grey and num_levels <= 16:
        packed = picture.copy()
        packed.putpalette([level for level in range(num_levels) for _ in range(3)])
        bits = next(bits for bits in (1, 2, 4) if num_levels <= 2**bits)
        files.append(saved(packed, "PNG", optimize=True, bits=bits))
    return min(files, key=len)


def bytes_alone(images: np.ndarray, num_levels: int) -> dict[str, np.ndarray]:
    """Bytes of each image (N, H, W, C) in a file of its own, headers included: format → (N,).

    Raises:
        ValueError: for more than 256 levels, or other than 1 to 4 channels.
    """
    return {
        format: np.array([len(encode(image, num_levels, format)) for image in images], "int64")
        for format in FORMATS
    }


def bytes_together(images: np.ndarray, num_levels: int) -> dict[str, dict[str, int]]:
    """Bytes of all images (N, H, W, C) in one file: format → layout → bytes, where the format has the size.

    Raises:
        ValueError: for more than 256 levels, or other than 1 to 4 channels.
    """
    return {
        format: {
            layout: len(encode(pixels, num_levels, format))
            for layout, pixels in layouts(images).items()
            if format != "WebP" or max(pixels.shape[:2]) <= MAX_WEBP_SIDE
        }
        for format in FORMATS
    }


def layouts(images: np.ndarray) -> dict[str, np.ndarray]:
    """All images (N, H, W, C) in one: below each other, and as a mosaic that is filled up with zeros."""
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    padded = np.concatenate([images, np.zeros((rows * columns - count, *images.shape[1:]), images.dtype)])
    mosaic = padded.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return {
        "all in one column": images.reshape(count * height, width, channels),
        "all in one mosaic": mosaic.reshape(rows * height, columns * width, channels),
    }


def saved(picture: Image.Image, format: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()
