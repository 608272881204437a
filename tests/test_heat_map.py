"""Heat maps: colours that grow lighter with the bits, at the place of their pixels, beside a legend."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfprior.pictures import save_heat_maps
from tfprior.pictures.heat_map import BAR_HEIGHT, BAR_WIDTH, COLORS, MARGIN, colors_of, legend
from tfprior.pictures.sheets import BACKDROP, GAP


def opened(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def lightness(colors: np.ndarray) -> np.ndarray:
    """CIE L* of sRGB colours (…, 3) uint8."""
    shares = colors / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_lightness_grows_evenly_with_the_bits() -> None:
    found = lightness(colors_of(np.linspace(0, 1, 200)))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, np.linspace(found[0], found[-1], 200), atol=3)


def test_what_leaves_the_scale_takes_its_ends() -> None:
    np.testing.assert_array_equal(
        colors_of(np.array([-0.1, 0, 1, 7])), [COLORS[0], COLORS[0], COLORS[-1], COLORS[-1]]
    )


def test_maps_stand_below_their_images(tmp_path: Path) -> None:
    images = np.arange(12, dtype="int32").reshape(3, 2, 2, 1)
    bits = np.arange(12, dtype="float64").reshape(3, 2, 2)[::-1] / 11 * 8
    save_heat_maps(images, bits, 16, tmp_path / "maps.png", columns=2, scale=40)
    pixels = opened(tmp_path / "maps.png")
    pair, width = 2 * 80 + GAP, 2 * (80 + GAP) + GAP
    bar = legend([0, 8], exceeded=False)
    sheet = 2 * pair + 8 * GAP
    assert pixels.shape == (sheet + bar.height, max(width, bar.width), 3)
    start = (pixels.shape[1] - width) // 2
    for index, (y, x) in enumerate([(0, 0), (0, 1), (1, 0)]):
        top, left = GAP + y * (pair + 6 * GAP), start + GAP + x * (80 + GAP)
        for (row, column), value in np.ndenumerate(images[index, ..., 0]):
            here = top + 40 * row + 20, left + 40 * column + 20
            assert tuple(pixels[here]) == (value * 17,) * 3
            share = bits[index, row, column] / 8
            assert tuple(pixels[here[0] + 80 + GAP, here[1]]) == tuple(colors_of(np.array(share)))
    assert tuple(pixels[sheet, 0]) == BACKDROP
    ramp = pixels[sheet + GAP + 26 + BAR_HEIGHT // 2, (pixels.shape[1] - bar.width) // 2 + MARGIN :][
        :BAR_WIDTH
    ]
    np.testing.assert_array_equal(ramp, colors_of(np.linspace(0, 1, BAR_WIDTH)))


def test_one_small_image_leaves_room_for_the_legend(tmp_path: Path) -> None:
    save_heat_maps(np.zeros((1, 2, 2, 3), "int32"), np.zeros((1, 2, 2)), 4, tmp_path / "maps.png")
    assert opened(tmp_path / "maps.png").shape[1] == BAR_WIDTH + 2 * MARGIN


def test_a_legend_tells_that_there_is_more() -> None:
    within, beyond = (np.asarray(legend([0, 2, 4], exceeded)) for exceeded in (False, True))
    changed = np.argwhere((within != beyond).any(axis=-1))
    assert changed[:, 1].min() > MARGIN + BAR_WIDTH // 2  # at the last number alone
    assert (beyond[:, -GAP:] == BACKDROP).all()  # and not cut off


@pytest.mark.parametrize("bits", [np.zeros((1, 2, 3)), np.zeros((1, 2, 2, 1)), np.full((1, 2, 2), np.nan)])
def test_maps_of_other_sizes_are_refused(tmp_path: Path, bits: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(N, H, W, C\) and \(N, H, W\)"):
        save_heat_maps(np.zeros((1, 2, 2, 1), "int32"), bits, 4, tmp_path / "maps.png")
    assert not any(tmp_path.iterdir())
