"""Sheets of images, exact to the pixel, and heat maps with the legend of their colours."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from tfprior.pictures import save_completions, save_grid, save_heat_maps, save_reconstructions
from tfprior.pictures.heat_map import BAR, COLORS, LEGEND, LEGEND_DPI, legend, scale_of
from tfprior.pictures.sheets import BACKDROP, GAP, HIDDEN, to_rgb
from tfprior.pictures.style import picture_of


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


# Sheets --------------------------------------------------------------------------------


def test_a_grid_shows_every_value_at_its_place(tmp_path: Path) -> None:
    images = np.arange(3 * 2 * 2, dtype="int32").reshape(3, 2, 2, 1)
    save_grid(images, 16, tmp_path / "new" / "grid.png", columns=2, scale=4)
    pixels = opened(tmp_path / "new" / "grid.png")
    expected = np.full((2 * (8 + GAP) + GAP, 2 * (8 + GAP) + GAP, 3), BACKDROP, "uint8")
    for index, (y, x) in enumerate([(0, 0), (0, 1), (1, 0)]):  # the fourth place stays empty
        top, left = GAP + y * (8 + GAP), GAP + x * (8 + GAP)
        expected[top : top + 8, left : left + 8] = np.kron(images[index] * 17, np.ones((4, 4, 1)))
    np.testing.assert_array_equal(pixels, expected)


def test_colours_keep_their_order() -> None:
    np.testing.assert_array_equal(to_rgb(np.array([[[[0, 1, 3]]]]), 4), [[[[0, 85, 255]]]])


def test_completions_tint_what_was_hidden(tmp_path: Path) -> None:
    originals = np.full((2, 4, 4, 1), 3, "int32")
    completions = np.arange(5).reshape(1, 5, 1, 1, 1) + np.zeros((2, 5, 4, 4, 1), int)
    mask = np.arange(4)[:, None].repeat(4, axis=1) >= 2
    save_completions(originals, mask, completions, 6, tmp_path / "c.png", scale=4)
    pixels = opened(tmp_path / "c.png")
    rows = pixels.shape[0] - 2 * (16 + GAP) + 16 * np.arange(2) + GAP * np.arange(2)
    starts = [GAP + (16 + GAP) * tile + 5 * GAP * ((tile > 0) + (tile > 5)) for tile in range(7)]
    for top in rows:
        known, *drawn, original = (pixels[top : top + 16, left : left + 16] for left in starts)
        assert (known[:8] == 153).all()
        assert (known[8:] == HIDDEN).all()
        assert [int(tile.max()) for tile in drawn] == [int(tile.min()) for tile in drawn]
        assert [int(tile.max()) for tile in drawn] == [0, 51, 102, 153, 204]
        assert (original == 153).all()
    assert pixels.shape[1] == starts[-1] + 16 + GAP


def test_reconstructions_stand_below_their_originals(tmp_path: Path) -> None:
    originals = np.arange(3 * 4, dtype="int32").reshape(3, 2, 2, 1)
    save_reconstructions(originals, 15 - originals, 16, tmp_path / "r.png", columns=2, scale=4)
    pixels = opened(tmp_path / "r.png")
    pair = 2 * 8 + GAP
    assert pixels.shape == (2 * pair + 8 * GAP, 2 * (8 + GAP) + GAP, 3)
    for index, (y, x) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + y * (pair + 6 * GAP), GAP + x * (8 + GAP)
        for (row, column), value in np.ndenumerate(originals[index, ..., 0]):
            assert tuple(pixels[top + 4 * row, left + 4 * column]) == (value * 17,) * 3
            assert tuple(pixels[top + 8 + GAP + 4 * row, left + 4 * column]) == (255 - value * 17,) * 3
        assert tuple(pixels[top + 8 + 1, left]) == BACKDROP
    with pytest.raises(ValueError, match="expected one shape"):
        save_reconstructions(originals, originals[:2], 16, tmp_path / "r.png")


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((2, 3, 3), int), r"Got int64 of shape \(2, 3, 3\) to draw; expected at least one grid of"),
        (np.zeros((0, 3, 3, 1), int), r"Got int64 of shape \(0, 3, 3, 1\) to draw; expected at least one"),
        (np.zeros((1, 3, 3, 1)), r"Got float64 of shape \(1, 3, 3, 1\) to draw; expected at least one"),
    ],
)
def test_pictures_refuse_what_is_no_grid(tmp_path: Path, images: np.ndarray, words: str) -> None:
    for draw in (
        lambda path: save_grid(images, 4, path),
        lambda path: save_reconstructions(images, images, 4, path),
        lambda path: save_completions(images, np.zeros((3, 3), bool), images[None], 4, path),
        lambda path: save_heat_maps(images, np.zeros(images.shape[:3]), 4, path),
    ):
        with pytest.raises(ValueError, match=words):
            draw(tmp_path / "picture.png")
    assert not any(tmp_path.iterdir())


def test_completions_refuse_what_does_not_belong_together(tmp_path: Path) -> None:
    originals, drawn = np.zeros((2, 3, 4, 1), int), np.zeros((2, 5, 3, 4, 1), int)
    for mask, completions in ((np.zeros((4, 3), bool), drawn), (np.zeros((3, 4), bool), drawn[:1])):
        with pytest.raises(ValueError, match=r"expected \(N, H, W, C\), \(N, K, H, W, C\) and \(H, W\)\."):
            save_completions(originals, mask, completions, 4, tmp_path / "c.png")
    assert not any(tmp_path.iterdir())


# Heat maps --------------------------------------------------------------------------------


def color(share: float) -> tuple[int, ...]:
    """The one at a share of the scale."""
    return tuple(COLORS(float(share), bytes=True)[:3])


def lightness(colors: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (…, 3) in [0, 1]."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_grows_evenly_with_the_bits() -> None:
    found = lightness(np.asarray(COLORS.colors)[:, :3])
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, np.linspace(found[0], found[-1], len(found)), atol=5)


def test_maps_stand_below_their_images(tmp_path: Path) -> None:
    images = np.arange(12, dtype="int32").reshape(3, 2, 2, 1)
    bits = np.arange(12, dtype="float64").reshape(3, 2, 2)[::-1] / 11 * 8
    save_heat_maps(images, bits, 16, tmp_path / "maps.png", columns=2, scale=80)
    pixels = opened(tmp_path / "maps.png")
    pair, width = 2 * 160 + GAP, 2 * (160 + GAP) + GAP
    sheet, below = 2 * pair + 8 * GAP, round(LEGEND[1] * LEGEND_DPI)
    assert pixels.shape == (sheet + below, width, 3)
    for index, (y, x) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + y * (pair + 6 * GAP), GAP + x * (160 + GAP)
        for (row, column), value in np.ndenumerate(images[index, ..., 0]):
            here = (
                slice(top + 80 * row, top + 80 * (row + 1)),
                slice(left + 80 * column, left + 80 * (column + 1)),
            )
            assert (pixels[here] == value * 17).all()
            there = slice(here[0].start + 160 + GAP, here[0].stop + 160 + GAP), here[1]
            assert (pixels[there] == color(bits[index, row, column] / 8)).all()
    np.testing.assert_array_equal(pixels[sheet:, 0], np.broadcast_to(BACKDROP, (below, 3)))


def test_the_bar_of_a_legend_has_the_colours_of_its_maps(tmp_path: Path) -> None:
    save_heat_maps(np.zeros((1, 2, 2, 3), "int32"), np.full((1, 2, 2), 5.0), 4, tmp_path / "maps.png")
    pixels = opened(tmp_path / "maps.png")
    wide, high = (round(side * LEGEND_DPI) for side in LEGEND)
    assert pixels.shape[1] == wide  # one small image leaves room for it
    left, width = round(BAR[0] * wide), round(BAR[2] * wide)
    ramp = pixels[pixels.shape[0] - round((BAR[1] + BAR[3] / 2) * high), left + 1 : left + width - 1]
    expected = [color((index + 1.5) / width) for index in range(width - 2)]
    np.testing.assert_allclose(ramp, expected, atol=6)


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        ([0, 6], [0, 1, 2, 3, 4, 5, 6]),
        ([0.5, 11], [0, 2, 4, 6, 8, 10, 12]),  # discrete values: from nothing
        ([-3.2, 4.8], [-4, -2, 0, 2, 4, 6]),  # densities: bits may be negative
        ([-30, -21], [-30, -28, -26, -24, -22, -20]),
        ([0, 0], [0, 0.0002, 0.0004, 0.0006, 0.0008, 0.001]),
    ],
)
def test_scales_are_round_and_enclose(bits: list[float], expected: list[float]) -> None:
    np.testing.assert_allclose(scale_of(np.array([bits])), expected, atol=1e-12)


def drawn_legend(bits: np.ndarray) -> tuple[ScalarMappable, Figure]:
    ticks = scale_of(bits)
    colors = ScalarMappable(Normalize(ticks[0], ticks[-1], clip=True), COLORS)
    return colors, legend(colors, ticks, bits.min(), bits.max())


def test_a_legend_names_unit_and_scale() -> None:
    colors, figure = drawn_legend(np.linspace(-3, 4.8, 1000))
    (axes,) = figure.axes
    assert axes.get_title() == "bits per pixel"
    assert axes.get_xlim() == (-4, 6) == colors.get_clim()
    picture_of(figure)  # lays it out
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["−4", "−2", "0", "2", "4", "6"]


@pytest.mark.parametrize(
    ("beyond", "extend"), [([], "neither"), ([-9], "min"), ([30], "max"), ([-9, 30], "both")]
)
def test_a_legend_is_pointed_where_there_is_more(beyond: list[float], extend: str) -> None:
    colors, figure = drawn_legend(np.array([*np.linspace(0, 5.9, 1000), *beyond]))
    assert colors.colorbar is not None
    assert colors.colorbar.extend == extend
    assert figure.axes[0].get_xlim() == (0, 6)


def test_what_leaves_the_scale_takes_its_ends(tmp_path: Path) -> None:
    bits = np.full((1, 40, 40), 3.0)
    bits[0, 0, :2] = -50, 50
    save_heat_maps(np.zeros((1, 40, 40, 1), "int32"), bits, 4, tmp_path / "maps.png", scale=8)
    pixels = opened(tmp_path / "maps.png")
    top, left = GAP + 320 + GAP, (pixels.shape[1] - 320) // 2
    assert [tuple(pixels[top, left + 8 * x]) for x in range(3)] == [color(0), color(1), color(1)]


@pytest.mark.parametrize("bits", [np.zeros((1, 2, 3)), np.zeros((1, 2, 2, 1)), np.full((1, 2, 2), np.nan)])
def test_maps_of_other_sizes_are_refused(tmp_path: Path, bits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, H, W, C\) and \(N, H, W\), the bits finite\."):
        save_heat_maps(np.zeros((1, 2, 2, 1), "int32"), bits, 4, tmp_path / "maps.png")
    assert not any(tmp_path.iterdir())


def test_maps_repeat_to_the_byte(tmp_path: Path) -> None:
    images, bits = np.zeros((2, 3, 3, 1), "int32"), np.arange(18.0).reshape(2, 3, 3)
    for name in ("one.png", "two.png"):
        save_heat_maps(images, bits, 4, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
