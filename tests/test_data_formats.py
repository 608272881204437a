"""Image files: formats, bit depths, palettes, transparency, frames, and what damaged ones are told."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import check_sentence, integers, save_image
from PIL import Image

from tfprior import data
from tfprior.data import image_file
from tfprior.data.png_file import PASSES

LOSSLESS = {"png": {}, "bmp": {}, "webp": {"lossless": True}, "tiff": {}, "tif": {"compression": "tiff_lzw"}}


def load_one(path: Path, **options: Any) -> np.ndarray:
    """The image of a file that lies alone in its folder, (H, W, C)."""
    folder = path.parent / f"two of {path.name}"
    folder.mkdir(exist_ok=True)
    for number in (1, 2):
        (folder / f"{number}{path.suffix}").write_bytes(path.read_bytes())
    loaded = data.load(folder, **options)
    np.testing.assert_array_equal(loaded.x_train, loaded.x_test)
    return loaded.x_train[0]


def save(tmp_path: Path, image: Image.Image, name: str = "a.png", **options: Any) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_folder_formats_and_colours(tmp_path: Path) -> None:
    grey, colour = integers(5, 4), integers(5, 4, 3)
    for suffix in ("bmp", "png", "PNG"):
        save_image(tmp_path / "grey" / "train" / f"a_{suffix}.{suffix}", grey)
    save_image(tmp_path / "grey" / "train" / "b.png", grey > 127)
    save_image(tmp_path / "grey" / "test" / "c.jpg", np.full((5, 4), 77, np.uint8))
    loaded = data.load(tmp_path / "grey")
    assert loaded.x_train.shape == (4, 5, 4, 1)
    np.testing.assert_array_equal(loaded.x_train[:3, ..., 0], [grey] * 3)
    np.testing.assert_array_equal(loaded.x_train[3, ..., 0], 255 * (grey > 127))
    np.testing.assert_allclose(loaded.x_test, 77, atol=1)

    save_image(tmp_path / "mixed" / "train" / "a.png", grey)
    save_image(tmp_path / "mixed" / "test" / "b.webp", colour, lossless=True)
    save_image(tmp_path / "mixed" / "test" / "c.png", np.dstack([colour, integers(5, 4)]))
    palette = Image.fromarray(colour).quantize(20)
    palette.save(tmp_path / "mixed" / "test" / "d.png")
    loaded = data.load(tmp_path / "mixed")
    np.testing.assert_array_equal(loaded.x_train[0], np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(loaded.x_test[0], colour)
    over_white = Image.alpha_composite(
        Image.new("RGBA", (4, 5), (255, 255, 255, 255)), Image.open(tmp_path / "mixed" / "test" / "c.png")
    )
    np.testing.assert_array_equal(loaded.x_test[1], np.asarray(over_white)[..., :3])
    np.testing.assert_array_equal(loaded.x_test[2], np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats(suffix: str, tmp_path: Path) -> None:
    colour = integers(5, 7, 3)
    path = save_image(tmp_path / f"a.{suffix}", colour, **LOSSLESS[suffix])
    np.testing.assert_array_equal(load_one(path), colour)
    if suffix != "webp":  # which has no grey
        path = save_image(tmp_path / f"a.{suffix}", colour[..., 0], **LOSSLESS[suffix])
        np.testing.assert_array_equal(load_one(path), colour[..., :1])


def test_gif(tmp_path: Path) -> None:
    grey, colour = integers(5, 7), integers(5, 7, 3)
    np.testing.assert_array_equal(load_one(save_image(tmp_path / "a.gif", grey)), grey[..., None])
    np.testing.assert_array_equal(load_one(save_image(tmp_path / "a.gif", colour)), colour)


@pytest.mark.parametrize(
    ("name", "options"),
    [("a.gif", {}), ("a.tiff", {}), ("a.webp", {"lossless": True}), ("a.png", {})],
)
def test_several_frames_are_refused(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    frames = [Image.fromarray(integers(9, 9, 3)) for _ in range(3)]
    path = save(tmp_path, frames[0], name, save_all=True, append_images=frames[1:], **options)
    with pytest.raises(ValueError, match=r"has 3 frames; expected one image: save each") as told:
        load_one(path)
    check_sentence(told.value, path.suffix)


def test_previews_of_photographs_are_not_frames(tmp_path: Path) -> None:
    """Phones write them into their .jpg files."""
    photo, preview = (Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (50, 250))
    photo.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[preview])
    np.testing.assert_array_equal(load_one(tmp_path / "a.jpg"), np.full((8, 8, 3), 50))


def test_ink_becomes_colour(tmp_path: Path) -> None:
    colour = integers(5, 7, 3)
    path = save(tmp_path, Image.fromarray(colour).convert("CMYK"), "a.tiff")
    np.testing.assert_array_equal(load_one(path), colour)


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "big-endian.tiff"])
def test_16_bits_of_grey(name: str, tmp_path: Path) -> None:
    deep = integers(4, 6, top=65536, dtype=np.uint16)
    deep[0, :2] = 0, 65535
    path = tmp_path / name
    if name == "big-endian.tiff":
        Image.frombytes("I;16B", (6, 4), deep.astype(">u2").tobytes()).save(path)
    else:
        save_image(path, deep)
    np.testing.assert_array_equal(load_one(path), deep[..., None])
    loaded = data.load(tmp_path / f"two of {name}")
    assert (loaded.num_levels, loaded.x_train.dtype) == (65536, np.int32)
    np.testing.assert_array_equal(load_one(path, num_levels=256), deep[..., None] // 256)
    level = save_image(tmp_path / f"level-{name}", np.full((8, 16), 60001, np.uint16))
    np.testing.assert_array_equal(load_one(level, image_size=4), np.full((4, 4, 1), 60001))


def png(
    width: int,
    height: int,
    bits: int,
    colour_type: int,
    rows: bytes,
    *chunks: tuple[bytes, bytes],
    interlaced: bool = False,
) -> bytes:
    """A PNG file of unfiltered rows, of kinds that Pillow does not write."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, interlaced)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )


@pytest.mark.parametrize(
    ("colour_type", "channels", "chunks"),
    [(2, 3, []), (4, 2, []), (6, 4, []), (0, 1, [(b"tRNS", b"\0\7")])],
    ids=["colour", "grey with alpha", "colour with alpha", "grey with a transparent level"],
)
def test_16_bits_of_colour_or_alpha_are_refused(
    colour_type: int, channels: int, chunks: list[Any], tmp_path: Path
) -> None:
    """Pillow would cut them to 8 bits."""
    (tmp_path / "a.png").write_bytes(png(2, 1, 16, colour_type, b"\0" + bytes(4 * channels), *chunks))
    with pytest.raises(ValueError, match=r"has 16 bits a channel in mode .*expected 8 bits") as told:
        load_one(tmp_path / "a.png")
    check_sentence(told.value, ".png")


@pytest.mark.parametrize(("bits", "scale"), [(1, 255), (2, 85), (4, 17)])
def test_few_bits_are_spread_over_256_levels(bits: int, scale: int, tmp_path: Path) -> None:
    levels = np.arange(8) % 2**bits
    row = np.packbits([[level >> (bits - 1 - bit) & 1 for bit in range(bits)] for level in levels])
    (tmp_path / "a.png").write_bytes(png(8, 1, bits, 0, b"\0" + row.tobytes()))
    loaded = load_one(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded[0, :, 0], levels * scale)
    np.testing.assert_array_equal(load_one(tmp_path / "a.png", num_levels=2**bits)[0, :, 0], levels)


def test_tiff_of_other_pixels_is_refused(tmp_path: Path) -> None:
    lab = Image.frombytes("LAB", (3, 3), bytes(27))
    white_is_zero = {"tiffinfo": {262: 0}}
    for image, options in (
        (Image.fromarray(np.ones((3, 3), np.float32)), {}),
        (Image.fromarray(np.ones((3, 3), np.int32)), {}),
        (Image.fromarray(np.ones((3, 3), np.uint16)), white_is_zero),
        (lab, {}),
    ):
        path = save(tmp_path, image, "a.tiff", **options)
        with pytest.raises(ValueError, match=r"\.tiff has .*; expected 8 bits of grey or") as told:
            load_one(path)
        check_sentence(told.value, ".tiff")


def test_transparent_pixels_show_white(tmp_path: Path) -> None:
    pixels = np.array([[[200, 100, 0, 255], [200, 100, 0, 0], [200, 100, 0, 51]]], np.uint8)
    expected = [[[200, 100, 0], [255, 255, 255], [244, 224, 204]]]  # the last is four fifths of white
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True, "exact": True}), ("a.tiff", {})):
        np.testing.assert_array_equal(load_one(save_image(tmp_path / name, pixels, **options)), expected)
    grey = Image.merge("LA", [Image.fromarray(pixels[..., channel].copy()) for channel in (0, 3)])
    np.testing.assert_array_equal(load_one(save(tmp_path, grey)), [[[200], [255], [244]]])
    plain = Image.fromarray(np.array([[10, 20, 30]], np.uint8))
    np.testing.assert_array_equal(load_one(save(tmp_path, plain, transparency=20)), [[[10], [255], [30]]])
    colour = Image.fromarray(pixels[..., :3].copy())
    of_colour = save(tmp_path, colour, transparency=(200, 100, 0))
    np.testing.assert_array_equal(load_one(of_colour), np.full((1, 3, 3), 255))


def palette_image(colours: list[tuple[int, int, int]], indices: list[int]) -> Image.Image:
    image = Image.new("P", (len(indices), 1))
    image.putpalette([level for colour in colours for level in colour])
    image.putdata(indices)
    return image


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tiff"])
def test_palettes_of_greys_stay_grey(suffix: str, tmp_path: Path) -> None:
    colours = [(7, 7, 7), (90, 90, 90), (255, 255, 255), (200, 0, 0)]
    grey = save(tmp_path, palette_image(colours, [1, 0, 2]), f"a.{suffix}")
    np.testing.assert_array_equal(load_one(grey), [[[90], [7], [255]]])
    colour = save(tmp_path, palette_image(colours, [1, 0, 3]), f"a.{suffix}")
    np.testing.assert_array_equal(load_one(colour), [[colours[1], colours[0], colours[3]]])


def test_transparent_colours_of_palettes_show_white(tmp_path: Path) -> None:
    image = palette_image([(7, 7, 7), (200, 0, 0)], [0, 1])
    for name in ("a.png", "a.gif"):
        np.testing.assert_array_equal(load_one(save(tmp_path, image, name, transparency=1)), [[[7], [255]]])


def test_orientation_is_followed(tmp_path: Path) -> None:
    grey = integers(5, 7)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = load_one(save(tmp_path, Image.fromarray(grey), exif=exif))
    np.testing.assert_array_equal(turned[..., 0], np.rot90(grey, -1))


def test_num_levels_quantizes_files(tmp_path: Path) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = save_image(tmp_path / "a.png", every)
    np.testing.assert_array_equal(load_one(path, num_levels=16)[..., 0], every // 16)
    np.testing.assert_array_equal(load_one(path, num_levels=300)[..., 0], every)
    dark = save_image(tmp_path / "a.png", every // 32)  # a file of 8 bits has 256 levels, whatever it shows
    np.testing.assert_array_equal(load_one(dark, num_levels=16), 0)


def test_other_bits_and_sizes_are_named(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", integers(3, 3))
    save_image(tmp_path / "b.png", integers(3, 3, dtype=np.uint16))
    with pytest.raises(ValueError, match=r"b\.png has 65536 levels where .*a\.png has 256;") as told:
        data.load(tmp_path)
    check_sentence(told.value, "b.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_truncated_images_are_named(suffix: str, tmp_path: Path) -> None:
    save_image(tmp_path / f"whole.{suffix}", integers(32, 32, 3))
    broken = save_image(tmp_path / f"broken.{suffix}", integers(32, 32, 3))
    content = broken.read_bytes()
    for size in (0, 5, len(content) // 2):
        broken.write_bytes(content[:size])
        with pytest.raises(
            ValueError, match=rf"broken\.{suffix} could not be read .*replace or remove it"
        ) as told:
            data.load(tmp_path)
        check_sentence(told.value, f"broken.{suffix}")


@pytest.mark.parametrize("suffix", ["gif", "tiff"])
def test_more_truncated_images_are_named(suffix: str, tmp_path: Path) -> None:
    path = save_image(tmp_path / f"a.{suffix}", integers(32, 32, 3))
    content = path.read_bytes()
    for size in (0, 5, len(content) // 2):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=rf"\.{suffix} could not be read .*: replace or remove it\.$"):
            load_one(path)


def test_checksums_of_png_are_compared(tmp_path: Path) -> None:
    content = bytearray(png(4, 4, 8, 0, bytes(20)))
    place = content.index(b"IDAT") + 4 + 12  # the checksum of the deflated rows, of which loading has no need
    content[place] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=r"\(its part 'IDAT' has a wrong checksum\)"):
        load_one(tmp_path / "a.png")


def test_missing_rows_are_not_taken_for_black(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(4, 4, 8, 0, bytes(20)))
    assert load_one(tmp_path / "a.png").shape == (4, 4, 1)
    (tmp_path / "a.png").write_bytes(png(4, 5, 8, 0, bytes(20)))
    with pytest.raises(ValueError, match=r"could not be read \(5 bytes of its pixels are missing\)"):
        load_one(tmp_path / "a.png")


def test_missing_strips_are_not_taken_for_black(tmp_path: Path) -> None:
    content = bytearray(save_image(tmp_path / "a.tiff", integers(9, 7)).read_bytes())
    height = content.index(struct.pack("<HHII", 257, 4, 1, 9)) + 8
    content[height : height + 4] = struct.pack("<I", 90)
    (tmp_path / "a.tiff").write_bytes(content)
    with pytest.raises(ValueError, match=r"could not be read \(rows of its pixels are missing\)"):
        load_one(tmp_path / "a.tiff")


@pytest.mark.parametrize("options", [{"compression": "tiff_lzw"}, {"strip_size": 21}, {"strip_size": 63}])
def test_strips_of_tiff(options: dict[str, Any], tmp_path: Path) -> None:
    colour = integers(9, 7, 3)
    np.testing.assert_array_equal(load_one(save_image(tmp_path / "a.tiff", colour, **options)), colour)


@pytest.mark.parametrize("width", [1022, 1023, 1024, 3071])  # around 1 MiB, which is inflated at a time
def test_larger_png(width: int, tmp_path: Path) -> None:
    values = np.zeros((1024, width), np.uint8)
    values[-1, -1] = 200
    np.testing.assert_array_equal(load_one(save_image(tmp_path / "a.png", values))[..., 0], values)
    few = integers(1024, width, top=3)
    np.testing.assert_array_equal(load_one(save_image(tmp_path / "a.png", few))[..., 0], few)


@pytest.mark.parametrize(("width", "height"), [(9, 7), (3, 2), (1, 1), (8, 8), (1, 9)])
def test_interlaced_png(width: int, height: int, tmp_path: Path) -> None:
    values, rows = integers(height, width), b""
    for left, top, across, down in PASSES:
        part = values[top::down, left::across]
        rows += b"".join(b"\0" + row.tobytes() for row in part if part.size)
    (tmp_path / "a.png").write_bytes(png(width, height, 8, 0, rows, interlaced=True))
    np.testing.assert_array_equal(load_one(tmp_path / "a.png")[..., 0], values)
    (tmp_path / "a.png").write_bytes(png(width, height, 8, 0, rows[:-1], interlaced=True))
    with pytest.raises(ValueError, match=r"could not be read \(1 bytes of its pixels are missing\)"):
        load_one(tmp_path / "a.png")


def test_only_listed_decoders_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An EPS file named .png would start Ghostscript."""
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "EpsImageFile", None)
    content = io.BytesIO()
    Image.fromarray(integers(3, 3)).save(content, "EPS")
    (tmp_path / "a.png").write_bytes(content.getvalue())
    with pytest.raises(ValueError, match=r"\(it is none of PNG, JPEG, WEBP, BMP, GIF, TIFF\)") as told:
        load_one(tmp_path / "a.png")
    check_sentence(told.value, ".png")


def test_the_content_tells_the_format(tmp_path: Path) -> None:
    grey = integers(3, 3)
    Image.fromarray(grey).save(tmp_path / "a.jpg", "PNG")
    np.testing.assert_array_equal(load_one(tmp_path / "a.jpg")[..., 0], grey)


@pytest.mark.parametrize("side", [11_600, 30_000])  # above our bound, and above Pillow's
def test_pixels_are_counted_before_they_are_decoded(
    side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", None)
    monkeypatch.setattr(image_file, "_levels", None)
    (tmp_path / "a.png").write_bytes(png(side, side, 8, 0, b""))
    with pytest.raises(ValueError, match=r"pixels where at most 134,217,728 are read") as told:
        load_one(tmp_path / "a.png", image_size=8)
    check_sentence(told.value, ".png")
