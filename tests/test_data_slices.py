"""Slices of data of any size: the same images as `load` reads whole, and what is refused."""

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import Doubling, check_sentence, integers, save_arrays, save_image

from tfprior.data import ShardedCodes, Slices, encode_dataset, load, open_slices


def joined(slices: Slices, step: int = 4) -> tuple[np.ndarray, np.ndarray | None]:
    """All of it, by slices."""
    parts = [slices.read(first, min(first + step, slices.count)) for first in range(0, slices.count, step)]
    labels = [part.labels for part in parts if part.labels is not None]
    return np.concatenate([part.values for part in parts]), np.concatenate(labels) if labels else None


@pytest.mark.parametrize("order", ["C", "F"])
def test_slices_of_npy(order: Any, tmp_path: Path) -> None:
    values = integers(11, 4, 5)
    np.save(tmp_path / "images.npy", np.asarray(values, order=order))
    slices = open_slices(tmp_path / "images.npy")
    assert (slices.count, slices.grid_shape, slices.num_levels) == (11, (4, 5, 1), None)
    assert not slices.has_labels
    np.testing.assert_array_equal(joined(slices)[0], values[..., None])
    np.testing.assert_array_equal(slices.read(3, 9).values, values[3:9, ..., None])
    assert type(slices.read(0, 1).values) is np.ndarray  # nothing stays mapped


def test_slices_of_npz(tmp_path: Path) -> None:
    arrays = {
        "x_train": integers(11, 4, 5, 3, top=20),
        "y_train": np.arange(11)[:, None],
        "x_test": integers(7, 4, 5, 3, top=20),
        "y_test": np.arange(7),
        "num_levels": 20,
    }
    np.savez(tmp_path / "images.npz", **arrays)
    loaded = load(tmp_path / "images.npz")
    for part in ("train", "test"):
        slices = open_slices(tmp_path / "images.npz", part)
        assert (slices.grid_shape, slices.num_levels, slices.has_labels) == ((4, 5, 3), 20, True)
        values, labels = joined(slices, 3)
        np.testing.assert_array_equal(values, getattr(loaded, f"x_{part}"))
        np.testing.assert_array_equal(labels, getattr(loaded, f"y_{part}"))
    # As an archive whose members are moved by what others write before them.
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        for name in ("x_train", "y_train"):
            np.save(tmp_path / "one.npy", arrays[name])
            info = zipfile.ZipInfo(f"{name}.npy")
            info.extra = b"\x99\x99\x03\x00abc"
            archive.writestr(info, (tmp_path / "one.npy").read_bytes())
    values, labels = joined(open_slices(tmp_path / "other.npz"))
    np.testing.assert_array_equal(values, arrays["x_train"])
    np.testing.assert_array_equal(labels, np.arange(11))


def test_slices_of_a_folder_of_arrays(tmp_path: Path) -> None:
    parts = [integers(count, 4, 5, 1) for count in (3, 1, 6, 2)]
    for index, part in enumerate(parts):
        np.save(tmp_path / f"part{index}.npy", part)
    slices = open_slices(tmp_path)
    whole = np.concatenate(parts)
    for start in range(12):
        for stop in range(start + 1, 13):
            np.testing.assert_array_equal(slices.read(start, stop).values, whole[start:stop])
    np.save(tmp_path / "part9.npy", integers(2, 4, 6, 1))
    with pytest.raises(ValueError, match=r"part9\.npy has uint8 images of shape \(4, 6, 1\) where") as caught:
        open_slices(tmp_path)
    assert "expected those of one shape and type" in str(caught.value)
    (tmp_path / "part9.npy").unlink()
    save_image(tmp_path / "one.png", integers(4, 5))
    with pytest.raises(ValueError, match=r"holds one\.png beside \.npy files; expected these alone"):
        open_slices(tmp_path)


def test_slices_of_a_folder_of_images(tmp_path: Path) -> None:
    for index in range(9):
        kind = ("cat", "dog")[index % 2]
        save_image(tmp_path / "train" / kind / f"{index}.png", integers(4, 5))
        save_image(tmp_path / "test" / kind / f"{index}.png", integers(4, 5))
    loaded = load(tmp_path)
    for part in ("train", "test"):
        slices = open_slices(tmp_path, part)
        values, labels = joined(slices)
        assert slices.num_levels == 256
        np.testing.assert_array_equal(values, getattr(loaded, f"x_{part}"))
        np.testing.assert_array_equal(labels, getattr(loaded, f"y_{part}"))
    grey = open_slices(tmp_path, channels=3)
    assert grey.grid_shape == (4, 5, 3)
    np.testing.assert_array_equal(grey.read(2, 4).values, np.repeat(loaded.x_train[2:4], 3, -1))
    sized = open_slices(tmp_path, image_size=(2, 3))
    np.testing.assert_array_equal(joined(sized)[0], load(tmp_path, image_size=(2, 3)).x_train)
    before = grey.digest
    save_image(tmp_path / "train" / "cat" / "a.png", integers(4, 5, 3))
    assert open_slices(tmp_path).digest != before
    coloured = open_slices(tmp_path)
    with pytest.raises(ValueError, match=r"have grids \(4, 5, 3\) of 256 levels where .*expected images"):
        joined(coloured)


def test_slices_of_codes(tmp_path: Path) -> None:
    values = integers(10, 4, 2, 1, top=4)
    examples = {"values": values, "condition": np.arange(10)}
    encode_dataset(Doubling(), examples, tmp_path, 4, progress=False)
    slices, codes = open_slices(tmp_path), ShardedCodes(tmp_path)
    assert (slices.count, slices.grid_shape, slices.num_levels, slices.are_codes) == (10, (4, 2, 1), 8, True)
    for start, stop in ((0, 10), (3, 9), (4, 8), (9, 10), (2, 3)):
        read = slices.read(start, stop)
        np.testing.assert_array_equal(read.values, 2 * values[start:stop])
        np.testing.assert_array_equal(read.labels, np.arange(start, stop))
        np.testing.assert_array_equal(codes.read(start, stop)["values"], read.values)


def test_slices_of_a_data_set_by_name() -> None:
    digits, slices = load("digits"), open_slices("digits", "test")
    values, labels = joined(slices, 100)
    np.testing.assert_array_equal(values, digits.x_test)
    np.testing.assert_array_equal(labels, digits.y_test)
    assert slices.digest == open_slices("digits", "test").digest != open_slices("digits").digest


def test_a_slice_is_all_that_is_in_memory(tmp_path: Path) -> None:
    """A gibibyte of zeros, which take no room on disk."""
    np.lib.format.open_memmap(tmp_path / "large.npy", "w+", "uint8", (2**20, 32, 32, 1)).flush()
    tracemalloc.start()
    try:
        slices = open_slices(tmp_path / "large.npy")
        assert not slices.read(2**20 - 64, 2**20).values.any()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize(
    ("arrays", "part", "message"),
    [
        ({"x_train": integers(3, 4, 5)}, "test", r"has no x_test; expected it"),
        ({"x_train": np.zeros((3, 4, 5))}, "train", r"x_train of .* has dtype float64; expected integers"),
        ({"x_train": np.zeros((3, 1, 8, 8), int)}, "train", r"channels first; expected"),
        ({"x_train": np.zeros((0, 8, 8), int)}, "train", r"holds no images; expected"),
        ({"x_train": np.zeros((), int)}, "train", r"holds no images; expected"),
        ({"x_train": np.full((3, 4, 5), -1)}, "train", r"reaches down to -1; expected"),
        ({"x_train": integers(3, 4, 5), "y_train": np.arange(2)}, "train", r"expected 3 labels, one for"),
        ({"x_train": integers(3, 4, 5), "z": 1}, "train", r"holds an array named 'z'; expected"),
        ({"x_train": integers(3, 4, 5), "num_levels": 1}, "train", r"is not a number of levels; expected"),
        ({"x_train": np.array([None])}, "train", r"holds Python objects as x_train; expected"),
    ],
)
def test_what_is_no_data_is_told(arrays: dict[str, Any], part: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=message) as caught:
        open_slices(path, part)
    check_sentence(caught.value, str(path))


def test_what_cannot_be_sliced_is_told(tmp_path: Path) -> None:
    compressed = save_arrays(tmp_path / "compressed.npz")
    with pytest.raises(ValueError, match=r"has x_train compressed, so that no part") as caught:
        open_slices(compressed)
    check_sentence(caught.value, str(compressed))
    path = tmp_path / "images.npy"
    np.save(path, integers(9, 4, 5))
    slices = open_slices(path)
    for wrong, message in (
        ({"part": "test"}, r"has no parts; expected them of part='test'"),
        ({"part": "other"}, r"part='other'; expected one of 'train', 'test'"),
        ({"image_size": 8}, r"image_size=8 was given for"),
    ):
        with pytest.raises(ValueError, match=message):
            open_slices(path, **wrong)
    path.write_bytes(path.read_bytes()[:-1])
    for reading in (lambda: open_slices(path), lambda: slices.read(0, 9)):
        with pytest.raises(ValueError, match=r"images\.npy could not be read") as caught:
            reading()
        check_sentence(caught.value, str(path))
    with pytest.raises(FileNotFoundError, match=r"does not exist; expected one of"):
        open_slices(tmp_path / "missing.npy")
    with pytest.raises(ValueError, match=r"is not a known data set"):
        open_slices("dogits")
    save_image(tmp_path / "folder" / "1.png", integers(4, 5))
    with pytest.raises(ValueError, match=r"has no test part; expected a subfolder"):
        open_slices(tmp_path / "folder", "test")
