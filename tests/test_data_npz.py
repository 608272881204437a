"""NumPy files: what they yield, and what damaged, hostile and odd ones are told."""

import dataclasses
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import check_sentence, images, integers, save_arrays

from tfprior import data


def test_npz(tmp_path: Path) -> None:
    x_train, x_test = integers(6, 4, 5, 3), integers(3, 4, 5, 3)
    path = save_arrays(
        tmp_path / "mine.npz", x_train=x_train, x_test=x_test, y_test=np.array([[2], [0], [7]])
    )
    for given in (path, str(path)):
        loaded = data.load(given)
        assert loaded.name == "mine"
        assert loaded.grid_shape == (4, 5, 3)
        assert loaded.num_levels == 256
        assert loaded.num_classes == 8
        assert loaded.class_names is None
        np.testing.assert_array_equal(loaded.x_train, x_train)
        np.testing.assert_array_equal(loaded.x_test, x_test)
        np.testing.assert_array_equal(loaded.y_train, np.arange(6))
        np.testing.assert_array_equal(loaded.y_test, [2, 0, 7])


def test_npz_without_labels_and_channels(tmp_path: Path) -> None:
    path = save_arrays(
        tmp_path / "a.npz", x_train=integers(6, 4, 5), x_test=integers(3, 4, 5), y_train=None, y_test=None
    )
    loaded = data.load(path)
    assert loaded.grid_shape == (4, 5, 1)
    assert loaded.y_train is loaded.y_test is loaded.num_classes is None


def test_npz_without_test_images_holds_out_a_tenth(tmp_path: Path) -> None:
    x = np.arange(50, dtype=np.uint8)[:, None, None] + np.zeros((50, 2, 3), np.uint8)
    path = save_arrays(tmp_path / "a.npz", x_train=x, y_train=np.arange(50), x_test=None, y_test=None)
    one, two = data.load(path), data.load(path)
    assert len(one.x_test) == 5
    np.testing.assert_array_equal(one.x_test, two.x_test)
    assert sorted([*one.x_train[:, 0, 0, 0], *one.x_test[:, 0, 0, 0]]) == list(range(50))
    np.testing.assert_array_equal(one.x_train[:, 1, 2, 0], one.y_train)
    np.testing.assert_array_equal(one.x_test[:, 1, 2, 0], one.y_test)


@pytest.mark.parametrize(
    ("top", "dtype", "stored", "argument", "expected"),
    [
        (1, np.uint8, None, None, 2),
        (1, np.int64, None, None, 2),
        (1, np.bool_, None, None, 2),
        (9, np.uint8, None, None, 256),
        (9, np.int16, None, None, 10),
        (511, np.uint16, None, None, 512),
        (9, np.uint8, 32, None, 32),
        (9, np.uint8, 32, 64, 64),
        (9, np.uint8, None, 17, 17),
        (9, np.int64, None, 17, 17),
        (1, np.uint8, None, 300, 300),
    ],
)
def test_npz_num_levels(
    top: int, dtype: Any, stored: int | None, argument: int | None, expected: int, tmp_path: Path
) -> None:
    x_train = np.zeros((4, 2, 2), dtype)
    x_train[0, 0, 0] = top
    stored_level = None if stored is None else np.array(stored)
    path = save_arrays(
        tmp_path / "a.npz",
        x_train=x_train,
        x_test=x_train[:3],
        y_train=None,
        y_test=None,
        num_levels=stored_level,
    )
    loaded = data.load(path, num_levels=argument)
    assert loaded.num_levels == expected
    assert loaded.x_train.dtype == (np.uint8 if expected <= 256 else np.int32)
    np.testing.assert_array_equal(loaded.x_train[..., 0], x_train)


NPZ_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "no x_train": ({"x_train": None}, "has no x_train"),
    "float": (
        {"x_train": np.ones((6, 4, 5, 3), np.float32)},
        r'dtype float32; .*in \[1, 1\], so store x\.astype\("int32"\), if',
    ),
    "floats up to 1": (
        {"x_train": np.linspace(0, 1, 120, dtype=np.float32).reshape(6, 4, 5)},
        r'\[0, 1\], so store np\.round\(x \* 255\)\.astype\("uint8"\)',
    ),
    "floats of both signs": (
        {"x_train": np.linspace(-1, 1, 120).reshape(6, 4, 5)},
        r'\[-1, 1\], so store np\.round\(\(x \+ 1\) \* 127\.5\)\.astype\("uint8"\)',
    ),
    "standardized": (
        {"x_train": np.linspace(-2, 2, 120).reshape(6, 4, 5)},
        r"\[-2, 2\], so store levels \(uint8 or int32\), not scaled values",
    ),
    "channels first": (
        {"x_train": integers(6, 3, 5, 7), "x_test": integers(3, 3, 5, 7)},
        r"\(6, 3, 5, 7\), channels first; expected \(N, H, W, C\): pass np\.moveaxis\(x, 1, -1\)",
    ),
    "another array": (
        {"y_trian": np.arange(6)},
        "an array named 'y_trian'; expected x_train, y_train, x_test",
    ),
    "largest value": (
        {"x_train": np.full((6, 4, 5, 3), 2**31 - 1)},
        "has values up to 2147483647; expected levels below 262144: quantize",
    ),
    "largest value of many levels": (
        {"x_train": np.full((6, 4, 5, 3), 2**40), "num_levels": np.array(300)},
        "x_train of .*reaches up to 1099511627776; expected levels below 262144: quantize",
    ),
    "largest num_levels": (
        {"num_levels": np.array(2**31 - 1)},
        "num_levels=2147483647 .*expected an integer from 2 to 262144",
    ),
    "largest label": (
        {"y_train": np.full(6, 2**31 - 1)},
        r"y_train .*\[2147483647, 2147483647\]; expected class indices from 0 to at most 65535",
    ),
    "label beyond int64": ({"y_train": np.full(6, 2**64 - 1)}, r"y_train .*18446744073709551615\]; expected"),
    "NaN": ({"x_test": np.full((3, 4, 5, 3), np.nan)}, "x_test of .* holds NaN"),
    "strings": ({"x_train": np.full((6, 4, 5), "a")}, "dtype <U1; expected integers"),
    "negative": ({"x_train": np.full((6, 4, 5, 3), -3)}, "reaches down to -3"),
    "rank": ({"x_train": integers(6, 4)}, r"shape \(6, 4\); expected \(N, H, W\)"),
    "no images": ({"x_train": integers(0, 4, 5, 3), "y_train": integers(0)}, "at least one image"),
    "no test images": (
        {"x_test": integers(0, 4, 5, 3), "y_test": integers(0)},
        "x_test .*at least one image",
    ),
    "one image": ({"x_train": integers(1, 4, 5), "x_test": None, "y_train": None}, "expected at least two"),
    "grids": ({"x_test": integers(3, 5, 4, 3)}, r"\(4, 5, 3\) and test images of shape \(5, 4, 3\)"),
    "levels": (
        {"x_test": np.full((3, 4, 5, 3), 20), "num_levels": np.array(17)},
        "x_test .*up to [0-9]+; .*16",
    ),
    "bad num_levels": ({"num_levels": np.array(2.5)}, "num_levels=2.5 .*not a number of levels"),
    "many num_levels": (
        {"num_levels": np.array([2, 3])},
        r"num_levels of .* has shape \(2,\); expected one number",
    ),
    "label count": ({"y_test": np.arange(4)}, "y_test .*4 labels; expected 3"),
    "label rank": ({"y_train": np.eye(6, dtype=int)}, r"y_train .*shape \(6, 6\); expected integer class"),
    "float labels": ({"y_train": np.ones(6)}, "y_train .*dtype float64 .*expected integer class"),
    "negative labels": ({"y_train": np.arange(6) - 1}, r"y_train .*\[-1, 4\]; expected class indices"),
    "pickle": ({"x_train": np.array([{}, {}])}, r"holds Python objects as x_train; .*never unpickled"),
    "numbers as class names": (
        {"class_names": np.arange(6)},
        r"class_names of .*dtype int64 and shape \(6,\); expected one text for each class",
    ),
    "too few class names": (
        {"class_names": np.array(["a", "b"])},
        "y_train of .*reaches up to 5; expected indices of the 2 class names: name every class",
    ),
    "flag of codes": ({"are_codes": np.array("yes")}, "are_codes of .*dtype <U3 .*expected True or False"),
    "codes alone": ({"are_codes": np.array(True)}, "holds codes and no num_levels; expected it"),
    "half an origin": (
        {"are_codes": np.array(True), "num_levels": np.array(256), "tokenizer": np.array("runs/tokenizer")},
        r"tokenizer of its codes in a damaged way \('tokenizer_digest'\)",
    ),
    "damaged origin": (
        {
            "are_codes": np.array(True),
            "num_levels": np.array(256),
            **{name: np.array("[]") for name in ("tokenizer", "tokenizer_digest", "tokenizer_images")},
        },
        r"damaged way \(tokenizer_images is a list\); .*encode the images again",
    ),
}


@pytest.mark.parametrize("fault", NPZ_FAULTS)
def test_npz_faults(fault: str, tmp_path: Path) -> None:
    changes, message = NPZ_FAULTS[fault]
    if fault == "levels":
        changes = {**changes, "x_train": integers(6, 4, 5, 3, top=17)}
    path = save_arrays(tmp_path / "faulty.npz", **changes)
    with pytest.raises(ValueError, match=message) as told:
        data.load(path)
    check_sentence(told.value, "faulty")


@pytest.mark.parametrize(("num_levels", "dtype"), [(200, "uint8"), (512, "uint16"), (70_000, "uint32")])
@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_saved_loads_again(num_levels: int, dtype: str, labelled: bool, tmp_path: Path) -> None:
    origin = data.CodesOrigin("runs/tokenizer", "ab12", {"name_or_path": "digits", "image_size": None})
    labels = {} if labelled else {"y_train": None, "y_test": None}
    codes = images(num_levels=num_levels, **labels, are_codes=True, origin=origin)
    data.save_npz(codes, tmp_path / "codes.npz")
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as archive:
        assert archive["x_train"].dtype == archive["x_test"].dtype == dtype
        assert ("y_train" in archive.files) is labelled
    loaded = data.load(tmp_path / "codes.npz")
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(codes, name))
    assert (loaded.num_levels, loaded.are_codes, loaded.origin) == (num_levels, True, origin)
    assert data.load(tmp_path / "codes.npz", num_levels=num_levels).num_levels == num_levels
    with pytest.raises(ValueError, match=rf"holds codes of {num_levels} kinds; leave num_levels=17 out"):
        data.load(tmp_path / "codes.npz", num_levels=17)
    data.save_npz(images(), tmp_path / "images.npz")
    plain = data.load(tmp_path / "images.npz")
    assert (plain.num_levels, plain.are_codes, plain.origin) == (17, False, None)
    names = tuple(f"class {number} ×" for number in range(10)) if labelled else ("cat", "dog")
    data.save_npz(dataclasses.replace(codes, class_names=names), tmp_path / "codes.npz")
    assert data.load(tmp_path / "codes.npz").class_names == names
    assert loaded.class_names is None
    data.save_npz(dataclasses.replace(codes, origin=None), tmp_path / "codes.npz")
    assert data.load(tmp_path / "codes.npz").origin is None
    with pytest.raises(ValueError, match=r"codes.txt does not end in .npz"):
        data.save_npz(codes, tmp_path / "codes.txt")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (touched,)

    path = save_arrays(tmp_path / "a.npz", y_train=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz holds Python objects as y_train"):
        data.load(path)
    assert not touched.exists()


def test_truncated_and_damaged_npz(tmp_path: Path) -> None:
    content = save_arrays(tmp_path / "whole.npz").read_bytes()
    path = tmp_path / "broken.npz"
    for size in (0, 1, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(
            ValueError, match=r"broken\.npz could not be read .*expected a complete \.npz"
        ) as told:
            data.load(path)
        check_sentence(told.value, "broken.npz")
    flipped = bytearray(content)
    flipped[200] ^= 255  # inside the compressed x_train: the archive's directory is intact
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match=r"broken\.npz could not be read"):
        data.load(path)


def test_other_files_named_npz(tmp_path: Path) -> None:
    path = tmp_path / "odd.npz"
    path.write_bytes(b"x_train")
    with pytest.raises(ValueError, match=r"odd\.npz could not be read"):
        data.load(path)
    plain = io.BytesIO()
    np.save(plain, integers(3, 4, 4))
    path.write_bytes(plain.getvalue())
    with pytest.raises(ValueError, match=r"odd\.npz could not be read"):
        data.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train.npy", b"no array")
        archive.writestr("x_test.npy", plain.getvalue())
    with pytest.raises(ValueError, match=r"odd\.npz could not be read \(the magic string is not correct"):
        data.load(path)


def test_labels_up_to_the_bound_are_taken(tmp_path: Path) -> None:
    path = save_arrays(tmp_path / "a.npz", y_train=np.array([0, 1, 2, 3, 4, 2**16 - 1]))
    assert data.load(path).num_classes == 2**16


def test_uint8_and_stored_levels_are_quantized(tmp_path: Path) -> None:
    x = np.arange(256, dtype=np.uint8).reshape(4, 8, 8)
    path = save_arrays(tmp_path / "a.npz", x_train=x, x_test=x, y_train=None, y_test=None)
    loaded = data.load(path, num_levels=16)
    assert loaded.num_levels == 16
    np.testing.assert_array_equal(loaded.x_train[..., 0], x // 16)
    np.testing.assert_array_equal(data.load(path, num_levels=3).x_test[..., 0], x.astype(int) * 3 // 256)
    stored = {"x_train": x.astype(np.int64) * 16, "x_test": x, "num_levels": np.array(4096)}
    path = save_arrays(tmp_path / "b.npz", **stored, y_train=None, y_test=None)
    np.testing.assert_array_equal(data.load(path, num_levels=16).x_train[..., 0], x // 16)
    del stored["num_levels"]
    path = save_arrays(tmp_path / "c.npz", **stored, y_train=None, y_test=None)
    with pytest.raises(ValueError, match=r"up to 4080 and does not tell its number of levels, so that 16"):
        data.load(path, num_levels=16)
