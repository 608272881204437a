"""Integer images as lossless files: they come back as they were, and their bytes are counted."""

import io

import numpy as np
import pytest
from PIL import Image

from tfprior.image_files import FORMATS, MAX_WEBP_SIDE, bytes_alone, bytes_together, encode, layouts

each_format = pytest.mark.parametrize("format", FORMATS)


def noise(*shape: int, num_levels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(num_levels, size=shape).astype("int32")


def decoded(file: bytes, channels: int) -> np.ndarray:
    """The levels (H, W, C) that a file holds; those of a palette are its indices."""
    with Image.open(io.BytesIO(file)) as picture:
        if picture.mode == "P":
            return np.asarray(picture)[..., None]
        if channels > 2:
            return np.asarray(picture.convert("RGB" if channels == 3 else "RGBA"))
        return np.asarray(picture.convert("RGBA"))[..., [0, 3][:channels]]


@each_format
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("num_levels", [2, 3, 16, 17, 256])
def test_images_come_back_as_they_were(format: str, channels: int, num_levels: int) -> None:
    image = noise(7, 9, channels, num_levels=num_levels)
    np.testing.assert_array_equal(decoded(encode(image, num_levels, format), channels), image)


@each_format
def test_bytes_are_those_of_the_files(format: str) -> None:
    images = noise(5, 6, 4, 1, num_levels=16)
    alone = bytes_alone(images, 16)[format]
    assert alone.tolist() == [len(encode(image, 16, format)) for image in images]
    together = bytes_together(images, 16)[format]
    column = images.reshape(30, 4, 1)
    mosaic = np.zeros((12, 12, 1), "int32")
    for index, image in enumerate(images):
        row, place = divmod(index, 3)
        mosaic[6 * row : 6 * row + 6, 4 * place : 4 * place + 4] = image
    assert together["all in one column"] == len(encode(column, 16, format))
    assert together["all in one mosaic"] == len(encode(mosaic, 16, format))
    np.testing.assert_array_equal(layouts(images)["all in one mosaic"], mosaic)


@each_format
def test_few_levels_are_packed(format: str) -> None:
    image = noise(64, 64, 1, num_levels=2)
    assert 8 * len(encode(image, 2, format)) / image.size < 1.3
    smooth = np.add.outer(np.arange(16), np.arange(16))[..., None] // 2  # packed it would be larger
    assert len(encode(smooth, 16, "PNG")) <= len(encode(smooth, 17, "PNG"))


def test_webp_has_no_layout_that_is_too_long() -> None:
    images = np.zeros((MAX_WEBP_SIDE + 1, 1, 1, 1), "uint8")
    assert set(bytes_together(images, 256)["PNG"]) == {"all in one column", "all in one mosaic"}
    assert set(bytes_together(images, 256)["WebP"]) == {"all in one mosaic"}


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(ValueError, match="300 levels and 1 channels; PNG and WebP hold at most 256"):
        encode(noise(4, 4, 1, num_levels=300), 300, "PNG")
    with pytest.raises(ValueError, match="5 channels"):
        bytes_alone(noise(2, 4, 4, 5, num_levels=4), 4)
    with pytest.raises(ValueError, match="'JPEG'; expected one of PNG, WebP"):
        encode(noise(4, 4, 1, num_levels=4), 4, "JPEG")
