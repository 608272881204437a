"""load: names, paths and arguments."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import integers, save_arrays, save_image

from tfprior import data


def test_unknown_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = "digits, photos, mnist, fashion_mnist, cifar10, an .npz, .npy or .parquet file or a folder"
    for name in ("digit", ""):
        with pytest.raises(ValueError, match=f"^'{name}' is not a known data set; expected one of {known}"):
            data.load(name)
    for path in ("gone.npz", "gone/images", tmp_path / "gone"):
        with pytest.raises(FileNotFoundError, match=rf"gone\S* does not exist; expected one of {known}"):
            data.load(path)
    (tmp_path / "table.csv").write_text("1,2")
    with pytest.raises(ValueError, match=r"table\.csv is not a file of images.*as an \.npz file"):
        data.load(tmp_path / "table.csv")
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        save_image(Path("digits") / f"{i}.png", integers(3, 3))
    assert data.load("digits").grid_shape == (8, 8, 1)
    assert data.load("./digits").grid_shape == data.load(Path("digits")).grid_shape == (3, 3, 1)


@pytest.mark.parametrize("num_levels", [0, 1, -4, 2.0, True, "17", 2**31 - 1, 2**18 + 1])
def test_num_levels_argument(num_levels: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"num_levels={num_levels!r} of digits is not a number")):
        data.load("digits", num_levels=num_levels)


def test_fewer_levels_quantize_and_more_do_not() -> None:
    assert data.load("digits", num_levels=32).num_levels == 32
    plain, few = data.load("digits"), data.load("digits", num_levels=16)
    assert (plain.num_levels, few.num_levels, few.x_train.max()) == (17, 16, 15)
    np.testing.assert_array_equal(few.x_train, plain.x_train.astype(int) * 16 // 17)
    np.testing.assert_array_equal(few.y_test, plain.y_test)
    binary = data.load("digits", num_levels=2)
    np.testing.assert_array_equal(binary.x_test, plain.x_test > 8)


@pytest.mark.parametrize("image_size", [0, -1, 2.5, "32", True, (4,), (4, 4, 1), (4, 0), (4, None)])
def test_image_size_argument(image_size: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"image_size={image_size!r} is not a size")):
        data.load(tmp_path, image_size=image_size)


def test_image_size_is_bounded(tmp_path: Path) -> None:
    for size in (2**14, (1, 2**31 - 1)):
        with pytest.raises(
            ValueError, match=re.escape(f"image_size={size} has more than 134,217,728 pixels")
        ):
            data.load(tmp_path, image_size=size)


@pytest.mark.parametrize(
    ("text", "size"),
    [("32", 32), (" 8 ", 8), ("32x48", (32, 48)), ("5X6", (5, 6)), ("5×6", (5, 6)), ("5 x 6", (5, 6))],
)
def test_image_size_as_text(text: str, size: int | tuple[int, int]) -> None:
    assert data.parse_image_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "32x", "x32", "1x2x3", "3.5", "-3", "32px", "(3, 4)", "٣"])
def test_other_text_is_no_image_size(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{text!r} is not a size; expected a side or")):
        data.parse_image_size(text)


def test_no_side_of_an_image_is_zero_or_huge() -> None:
    with pytest.raises(ValueError, match=re.escape("image_size=(0, 5) is not a size")):
        data.parse_image_size("0x5")
    with pytest.raises(ValueError, match=re.escape("image_size=999999999 has more than 134,217,728")):
        data.parse_image_size("999999999")


def test_image_size_is_for_folders(tmp_path: Path) -> None:
    for source in ("digits", save_arrays(tmp_path / "a.npz")):
        with pytest.raises(
            ValueError, match=r"image_size=8 was given for .*pictures, in a folder or in Parquet, only"
        ):
            data.load(source, image_size=8)


def test_import_is_light() -> None:
    code = (
        "import sys, tfprior.data; tfprior.data.load, tfprior.data.Images; "
        "print([n for n in ('tensorflow', 'keras', 'sklearn', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
