"""The part of an image that is hidden, told in a word or drawn."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfprior.sampling.masks import PARTS, hidden_part


@pytest.mark.parametrize(
    ("mask", "rows"),
    [
        ("left", ["##...", "##...", "##...", "##..."]),
        ("right", ["...##", "...##", "...##", "...##"]),
        ("top", ["#####", "#####", ".....", "....."]),
        ("bottom", [".....", ".....", "#####", "#####"]),
        ("centre", [".....", ".###.", ".###.", "....."]),
    ],
)
def test_parts_by_name(mask: str, rows: list[str]) -> None:
    expected = np.array([list(row) for row in rows]) == "#"
    np.testing.assert_array_equal(hidden_part(mask, (4, 5, 1)), expected)
    # What is given of an odd size is the larger half.
    assert (~hidden_part(mask, (5, 5, 3))).sum() >= 15
    assert mask in PARTS


def test_a_picture_is_bright_where_hidden(tmp_path: Path) -> None:
    hidden = np.random.default_rng(0).integers(2, size=(4, 5)).astype(bool)
    for name, mode in (("grey.PNG", "L"), ("colour.png", "RGB"), ("palette.png", "P")):
        picture = Image.fromarray(np.where(hidden, 200, 50).astype("uint8")).convert(mode)
        picture.save(tmp_path / name)
        np.testing.assert_array_equal(hidden_part(str(tmp_path / name), (4, 5, 1)), hidden)


def test_pictures_that_are_no_masks(tmp_path: Path) -> None:
    file = tmp_path / "mask.png"
    with pytest.raises(FileNotFoundError, match=r"mask\.png"):
        hidden_part(str(file), (4, 5, 1))
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")
    with pytest.raises(ValueError, match=r"mask\.png is no PNG; expected a picture, bright where"):
        hidden_part(str(file), (4, 5, 1))
    Image.fromarray(np.full((5, 4), 255, "uint8")).save(file)
    with pytest.raises(
        ValueError, match=r"mask\.png is 5 × 4 pixels; expected 4 × 5, the size of the images"
    ):
        hidden_part(str(file), (4, 5, 1))
    Image.fromarray(np.zeros((4, 5), "uint8")).save(file)
    with pytest.raises(ValueError, match=r"mask\.png is dark everywhere"):
        hidden_part(str(file), (4, 5, 1))
    with pytest.raises(ValueError, match=r"mask='middle'; expected one of left, right, top, bottom, centre"):
        hidden_part("middle", (4, 5, 1))
