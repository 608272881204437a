"""One image file as levels. Legend: H height, W width.

Read are PNG, JPEG, WebP, BMP, GIF and TIFF files of 8 bits a channel, and grey PNG and TIFF files of 16 bits.
What is transparent shows a white background. Files of several frames are refused.
"""

import io
import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

from .faults import Refused, file_named
from .image_size import MAX_PIXELS
from .png_file import check_png

if TYPE_CHECKING:
    from PIL import Image

# Pillow opens these alone, whatever a file is called: others start programs, as EPS does.
FORMATS = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
GREY = ("1", "L", "LA", "La")
PALETTE = ("P", "PA")
COLOUR = ("RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")
DEEP_GREY = ("I;16", "I;16L", "I;16B", "I")
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, UNSIGNED = 0, 1


class Picture(NamedTuple):
    """Levels (H, W) of a grey image, else (H, W, 3), and how many there are: 256 or 65 536."""

    values: np.ndarray
    num_levels: int


def read_image(path: Path, image_size: tuple[int, int] | None = None) -> Picture:
    """The image of a file; with `image_size=(H, W)` cropped about its centre and resized.

    Grey are files of grey pixels, and of palettes of which the image uses greys only. EXIF orientation is
    followed.

    Raises:
        ValueError: for a damaged file, several frames, more than 134 million pixels, and other pixels.
    """
    # Pillow warns of odd metadata and of large images; what matters is raised.
    with warnings.catch_warnings(action="ignore"):
        return decode(path, image_size)


def decode_bytes(file: tuple[bytes, str], image_size: tuple[int, int] | None) -> Picture:
    """As `decode`, of what a file holds and what errors call it."""
    data, name = file
    with file_named(name, "a complete image file", "replace or remove it"):
        return _read(io.BytesIO(data), image_size)


def decode(path: Path, image_size: tuple[int, int] | None) -> Picture:
    """As `read_image`, with what Pillow warns of."""
    with file_named(path, "a complete image file", "replace or remove it"), path.open("rb") as stream:
        return _read(stream, image_size)


def _read(stream: IO[bytes], image_size: tuple[int, int] | None) -> Picture:
    from PIL import Image, ImageOps

    with _open(stream) as source:
        _check_size(source)
        bits = check_png(stream) if source.format == "PNG" else _bits(source)
    stream.seek(0)
    with _open(stream) as source:
        source.load()
        image = _levels(ImageOps.exif_transpose(source), bits)
    if bits <= 8:
        image = image if image_size is None else _crop_and_resize(image, *image_size)
        return Picture(np.asarray(image, np.uint8), 256)
    if image_size is None:
        return Picture(np.asarray(image).astype(np.uint16), 65536)
    resized = _crop_and_resize(Image.fromarray(np.asarray(image).astype(np.float32)), *image_size)
    return Picture(np.clip(np.rint(np.asarray(resized)), 0, 65535).astype(np.uint16), 65536)


def _open(stream: IO[bytes]) -> "Image.Image":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(stream, formats=tuple(FORMATS))
    except UnidentifiedImageError:
        raise ValueError(f"it is none of {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise Refused(_too_many_pixels("more")) from None


def _check_size(image: "Image.Image") -> None:
    if image.width * image.height > MAX_PIXELS:
        raise Refused(_too_many_pixels(f"{image.height}×{image.width}"))
    # Phones add previews to a photograph, as further pictures of one file.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        frames = getattr(image, "n_frames", "several")
        raise Refused(f"has {frames} frames; expected one image: save each frame as a file.")


def _too_many_pixels(number: str) -> str:
    return (
        f"has {number} pixels where at most {MAX_PIXELS:,} are read; expected a smaller image: scale it down."
    )


def _bits(image: "Image.Image") -> int:
    """Bits of a channel in the file, which Pillow may have cut to 8."""
    if image.format != "TIFF":
        return 8
    strips = {extents for _, extents, *_ in image.tile}  # type: ignore[attr-defined]
    if (
        sum((right - left) * (bottom - top) for left, top, right, bottom in strips)
        < image.width * image.height
    ):
        raise ValueError("rows of its pixels are missing")  # Pillow takes them for black
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = max(tags.get(BITS_PER_SAMPLE, (1,)))
    signed = any(kind != UNSIGNED for kind in tags.get(SAMPLE_FORMAT, (UNSIGNED,)))
    if signed or (bits > 8 and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO):
        raise Refused(_other_pixels("signed or inverted levels"))
    return bits


def _levels(image: "Image.Image", bits: int) -> "Image.Image":
    """The image as L or RGB, or as it is where it has 16 bits."""
    from PIL import Image

    mode = image.mode
    if bits == 16 and mode in DEEP_GREY and not image.has_transparency_data:
        return image
    if bits > 8 or mode not in (*GREY, *PALETTE, *COLOUR):
        raise Refused(_other_pixels(f"{bits} bits a channel in mode {mode}"))
    if image.has_transparency_data:
        above = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        colours = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above).convert("RGB")
    else:
        colours = image.convert("L" if mode in GREY else "RGB")
    return colours.getchannel(0) if mode in GREY or (mode in PALETTE and _is_grey(colours)) else colours


def _other_pixels(kind: str) -> str:
    return f"has {kind}; expected 8 bits of grey or colour, or 16 bits of opaque grey: convert the image."


def _is_grey(colours: "Image.Image") -> bool:
    pixels = np.asarray(colours)
    return bool((pixels == pixels[..., :1]).all())


def _crop_and_resize(image: "Image.Image", height: int, width: int) -> "Image.Image":
    """The largest centred part of the wanted proportions, resized; nothing outside of it bleeds in."""
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    return image.crop((left, top, left + crop_width, top + crop_height)).resize((width, height))
