"""tfprior.data: what each source yields, what the pipelines hold, and what bad input is told."""

import dataclasses
import io
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfprior import data

RNG = np.random.default_rng(0)


def integers(*shape: int, top: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    return RNG.integers(top, size=shape).astype(dtype)


def images(**changes: Any) -> data.Images:
    fields = {
        "name": "made",
        "x_train": np.arange(10, dtype=np.int64)[:, None, None, None] + np.zeros((10, 2, 3, 1), np.int64),
        "y_train": np.arange(10),
        "x_test": integers(7, 2, 3, 1, top=17),
        "y_test": np.arange(7),
        "num_levels": 17,
    }
    return data.Images(**{**fields, **changes})


def save_npz(path: Path, **changes: Any) -> Path:
    arrays = {
        "x_train": integers(6, 4, 5, 3),
        "y_train": np.arange(6),
        "x_test": integers(3, 4, 5, 3),
        "y_test": np.arange(3),
    }
    arrays = {key: value for key, value in {**arrays, **changes}.items() if value is not None}
    np.savez_compressed(path, **arrays)
    return path


def save_image(path: Path, array: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


# Embedded and downloaded data sets -----------------------------------------------------------------------


def test_digits() -> None:
    digits = data.load("digits")
    assert digits.name == "digits"
    assert digits.grid_shape == (8, 8, 1)
    assert digits.num_levels == 17
    assert digits.num_classes == 10
    assert digits.class_names == tuple("0123456789")
    assert digits.x_train.shape == (1437, 8, 8, 1)
    assert digits.x_test.shape == (360, 8, 8, 1)
    assert digits.x_train.dtype == np.uint8
    assert digits.y_train.dtype == np.int32
    assert digits.x_train.max() == 16
    np.testing.assert_allclose(np.bincount(digits.y_test), np.bincount(digits.y_train) / 4, atol=1)
    # Likelihoods are comparable across releases only while the held-out digits stay the same.
    assert zlib.crc32(digits.x_test.tobytes()) == 1814970648


def test_photos_share_no_pixel_between_splits() -> None:
    from sklearn.datasets import load_sample_image

    photos = data.load("photos")
    assert photos.grid_shape == (32, 32, 3)
    assert photos.num_levels == 256
    assert photos.class_names == ("china", "flower")
    assert np.bincount(photos.y_train).tolist() == [50 * 57] * 2
    assert np.bincount(photos.y_test).tolist() == [13 * 5] * 2
    china = load_sample_image("china.jpg")
    np.testing.assert_array_equal(photos.x_train[57 + 1], china[8:40, 8:40])
    np.testing.assert_array_equal(photos.x_train[50 * 57 - 1], china[392:424, 448:480])
    np.testing.assert_array_equal(photos.x_test[5 + 1], china[32:64, 512:544])
    np.testing.assert_array_equal(photos.x_test[0], china[:32, 480:512])


@pytest.mark.parametrize("name", ["digits", "photos"])
def test_embedded_data_are_always_the_same(name: str) -> None:
    one, two = data.load(name), data.load(name)
    for field in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", (28, 28)), ("fashion_mnist", (28, 28)), ("cifar10", (32, 32, 3))]
)
def test_keras_data_sets(name: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    train, test = integers(20, *shape), integers(10, *shape)
    labels = np.arange(20, dtype=np.uint8).reshape((20, 1) if name == "cifar10" else 20) % 10
    monkeypatch.setattr(
        getattr(keras.datasets, name), "load_data", lambda: ((train, labels), (test, labels[:10]))
    )
    loaded = data.load(name)
    assert loaded.name == name
    assert loaded.grid_shape == (*shape, 1)[:3]
    assert (loaded.num_levels, loaded.num_classes, len(loaded.class_names)) == (256, 10, 10)
    np.testing.assert_array_equal(loaded.x_train.reshape(train.shape), train)
    np.testing.assert_array_equal(loaded.y_test, np.arange(10))


def test_failed_download_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    def fail() -> None:
        raise Exception("URL fetch failure on https://host/mnist.npz:\n None -- no route to host")

    monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
    with pytest.raises(
        FileNotFoundError, match=r"^mnist could not be .*no route to host.*path of an \.npz"
    ) as told:
        data.load("mnist")
    assert "\n" not in str(told.value)


# .npz files ----------------------------------------------------------------------------------------------


def test_npz(tmp_path: Path) -> None:
    x_train, x_test = integers(6, 4, 5, 3), integers(3, 4, 5, 3)
    path = save_npz(tmp_path / "mine.npz", x_train=x_train, x_test=x_test, y_test=np.array([[2], [0], [7]]))
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
    path = save_npz(
        tmp_path / "a.npz", x_train=integers(6, 4, 5), x_test=integers(3, 4, 5), y_train=None, y_test=None
    )
    loaded = data.load(path)
    assert loaded.grid_shape == (4, 5, 1)
    assert loaded.y_train is loaded.y_test is loaded.num_classes is None


def test_npz_without_test_images_holds_out_a_tenth(tmp_path: Path) -> None:
    x = np.arange(50, dtype=np.uint8)[:, None, None] + np.zeros((50, 2, 3), np.uint8)
    path = save_npz(tmp_path / "a.npz", x_train=x, y_train=np.arange(50), x_test=None, y_test=None)
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
        (1, np.uint8, None, 300, 300),
    ],
)
def test_npz_num_levels(
    top: int, dtype: Any, stored: int | None, argument: int | None, expected: int, tmp_path: Path
) -> None:
    x_train = np.zeros((4, 2, 2), dtype)
    x_train[0, 0, 0] = top
    stored_level = None if stored is None else np.array(stored)
    path = save_npz(
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
    "float": ({"x_train": np.ones((6, 4, 5, 3), np.float32)}, "dtype float32; expected integers"),
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
    "many num_levels": ({"num_levels": np.array([2, 3])}, r"num_levels=\[2, 3\] .*not a number of levels"),
    "label count": ({"y_test": np.arange(4)}, "y_test .*4 labels; expected 3"),
    "label rank": ({"y_train": np.eye(6, dtype=int)}, r"y_train .*shape \(6, 6\); expected integer class"),
    "float labels": ({"y_train": np.ones(6)}, "y_train .*dtype float64 .*expected integer class"),
    "negative labels": ({"y_train": np.arange(6) - 1}, r"y_train .*\[-1, 4\]; expected class indices"),
    "pickle": ({"x_train": np.array([{}, {}])}, "x_train of .*holds Python objects"),
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
    path = save_npz(tmp_path / "faulty.npz", **changes)
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
    data.save_npz(dataclasses.replace(codes, origin=None), tmp_path / "codes.npz")
    assert data.load(tmp_path / "codes.npz").origin is None
    with pytest.raises(ValueError, match=r"codes.txt does not end in .npz"):
        data.save_npz(codes, tmp_path / "codes.txt")


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    touched = tmp_path / "touched"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (touched,)

    path = save_npz(tmp_path / "a.npz", y_train=np.array([Bomb()], dtype=object))
    with pytest.raises(ValueError, match=r"y_train of .*holds Python objects"):
        data.load(path)
    assert not touched.exists()


def test_truncated_and_damaged_npz(tmp_path: Path) -> None:
    content = save_npz(tmp_path / "whole.npz").read_bytes()
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
    with pytest.raises(ValueError, match=r"of .*odd\.npz holds|odd\.npz could not be read|odd\.npz has"):
        data.load(path)


# Folders -------------------------------------------------------------------------------------------------


def test_folder_with_splits_and_classes(tmp_path: Path) -> None:
    arrays = {}
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for i in range(count):
                arrays[split, label, i] = integers(4, 6, 3)
                save_image(tmp_path / "pets" / split / name / f"{i}.png", arrays[split, label, i])
    (tmp_path / "pets" / "train" / "cat" / "notes.txt").write_text("no image")
    save_image(tmp_path / "pets" / "train" / ".cache" / "0.png", integers(9, 9))
    loaded = data.load(tmp_path / "pets")
    assert loaded.name == "pets"
    assert loaded.grid_shape == (4, 6, 3)
    assert loaded.num_levels == 256
    assert loaded.class_names == ("cat", "dog")
    assert loaded.y_train.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.y_test.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(loaded.x_train[4], arrays["train", 1, 1])
    np.testing.assert_array_equal(loaded.x_test[3], arrays["test", 1, 1])


@pytest.mark.parametrize("subfolder", ["", "train"])
def test_folder_without_splits_holds_out_a_tenth(subfolder: str, tmp_path: Path) -> None:
    for i in range(20):
        save_image(tmp_path / subfolder / f"{i:02}.png", np.full((3, 2), i, np.uint8))
    one, two = data.load(tmp_path), data.load(str(tmp_path))
    assert one.grid_shape == (3, 2, 1)
    assert one.y_train is one.y_test is one.class_names is None
    assert len(one.x_test) == 2
    np.testing.assert_array_equal(one.x_train, two.x_train)
    assert sorted([*one.x_train[:, 0, 0, 0], *one.x_test[:, 0, 0, 0]]) == list(range(20))


def test_folder_names_classes_before_holding_out(tmp_path: Path) -> None:
    for i in range(12):
        save_image(tmp_path / f"class_{i:02}" / "only.png", np.full((2, 2), i, np.uint8))
    loaded = data.load(tmp_path)
    assert loaded.num_classes == 12
    np.testing.assert_array_equal(loaded.x_train[:, 0, 0, 0], loaded.y_train)
    np.testing.assert_array_equal(loaded.x_test[:, 0, 0, 0], loaded.y_test)


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
    palette.save(tmp_path / "mixed" / "test" / "d.png", transparency=bytes(range(20)))
    loaded = data.load(tmp_path / "mixed")
    np.testing.assert_array_equal(loaded.x_train[0], np.repeat(grey[..., None], 3, -1))
    np.testing.assert_array_equal(loaded.x_test[0], colour)
    np.testing.assert_array_equal(loaded.x_test[1], colour)
    np.testing.assert_array_equal(loaded.x_test[2], np.asarray(palette.convert("RGB")))


def test_folder_image_size(tmp_path: Path) -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200  # the central square
    save_image(tmp_path / "a.png", wide)
    save_image(tmp_path / "b.png", np.full((6, 6), 200, np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is 6×6 where .*a\.png is 8×16.*pass image_size=") as told:
        data.load(tmp_path)
    check_sentence(told.value, "b.png")
    square = data.load(tmp_path, image_size=4)
    assert square.grid_shape == (4, 4, 1)
    np.testing.assert_array_equal(np.concatenate([square.x_train, square.x_test]), 200)
    assert data.load(tmp_path, image_size=(2, 6)).grid_shape == (2, 6, 1)


def test_folder_faults(tmp_path: Path) -> None:
    def fault(folder: Path, message: str, **options: Any) -> None:
        with pytest.raises(ValueError, match=message) as told:
            data.load(folder, **options)
        check_sentence(told.value, folder.name)

    (tmp_path / "empty").mkdir()
    fault(tmp_path / "empty", "holds no images; expected files that end in .png")
    save_image(tmp_path / "one" / "a.png", integers(2, 2))
    fault(tmp_path / "one", "has 1 image .*expected at least two")
    save_image(tmp_path / "half" / "test" / "a.png", integers(2, 2))
    fault(tmp_path / "half", "has test/ but no train/")
    (tmp_path / "half" / "train").mkdir()
    fault(tmp_path / "half", "half/train holds no images")
    save_image(tmp_path / "stray" / "a.png", integers(2, 2))
    save_image(tmp_path / "stray" / "cat" / "a.png", integers(2, 2))
    fault(tmp_path / "stray", r"in class subfolders and outside of them \(a\.png\)")
    save_image(tmp_path / "classes" / "train" / "cat" / "a.png", integers(2, 2))
    save_image(tmp_path / "classes" / "test" / "dog" / "b.png", integers(2, 2))
    fault(tmp_path / "classes", r"dog/b\.png is in no class .*expected a subfolder cat")
    for name in ("a", "b"):
        save_image(tmp_path / "deep" / f"{name}.png", integers(2, 2, top=60000, dtype=np.uint16))
    fault(tmp_path / "deep", r"a\.png has pixels of mode I;16; expected 8-bit")
    for name in ("a", "b"):
        save_image(tmp_path / "levels" / f"{name}.png", np.full((2, 2), 30, np.uint8))
    assert data.load(tmp_path / "levels", num_levels=31).num_levels == 31
    fault(tmp_path / "levels", r"up to 30; expected levels in \[0, 16\]", num_levels=17)


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


# Names, arguments and direct construction ----------------------------------------------------------------


def test_unknown_names_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = "digits, photos, mnist, fashion_mnist, cifar10, an .npz file or a folder"
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


@pytest.mark.parametrize("num_levels", [0, 1, -4, 2.0, True, "17"])
def test_num_levels_argument(num_levels: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(f"num_levels={num_levels!r} of digits is not a number")):
        data.load("digits", num_levels=num_levels)


def test_num_levels_overrides_embedded_data() -> None:
    assert data.load("digits", num_levels=32).num_levels == 32
    with pytest.raises(ValueError, match=r"up to 16; expected levels in \[0, 15\]: .*num_levels=17 or more"):
        data.load("digits", num_levels=16)


@pytest.mark.parametrize("image_size", [0, -1, 2.5, "32", (4,), (4, 4, 1), (4, 0)])
def test_image_size_argument(image_size: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(f"image_size={image_size!r} is not a size")):
        data.load(tmp_path, image_size=image_size)


def test_image_size_is_for_folders(tmp_path: Path) -> None:
    for source in ("digits", save_npz(tmp_path / "a.npz")):
        with pytest.raises(ValueError, match=r"image_size=8 was given for .*a folder of images only"):
            data.load(source, image_size=8)


def test_images_are_checked_and_frozen() -> None:
    made = images()
    assert made.grid_shape == (2, 3, 1)
    assert made.x_train.dtype == np.uint8
    assert made.num_classes == 10
    with pytest.raises(AttributeError, match="cannot assign"):
        made.num_levels = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match=r"x_train of made reaches up to 9; expected levels in \[0, 7\]"):
        images(num_levels=8)
    with pytest.raises(
        ValueError, match="y_train of made reaches up to 9; expected indices of the 9 class names"
    ):
        images(class_names=tuple("abcdefghi"))
    assert images(class_names=tuple("abcdefghijkl")).num_classes == 12


def check_sentence(error: BaseException, source: str) -> None:
    """One line that names the source, what was expected and a remedy."""
    text = str(error)
    assert source in text
    assert "expected" in text
    assert ":" in text
    assert text.endswith((".", "…"))
    assert "\n" not in text


# Pipelines -----------------------------------------------------------------------------------------------


def epoch(dataset: Any) -> list[Any]:
    return list(dataset.as_numpy_iterator())


def order(dataset: Any) -> list[int]:
    """Which train images of `images()` came, by the value that fills each of them."""
    return [int(image[0, 0, 0]) for batch in epoch(dataset) for image in batch]


def test_evaluation_pipeline_keeps_order_and_the_ragged_batch() -> None:
    made = images()
    dataset = made.pipeline("test", 3)
    batches = epoch(dataset)
    assert [len(batch) for batch in batches] == [3, 3, 1]
    assert len(dataset) == 3
    assert dataset.element_spec.shape.as_list() == [None, 2, 3, 1]
    assert batches[0].dtype == np.uint8
    np.testing.assert_array_equal(np.concatenate(batches), made.x_test)
    assert order(made.pipeline("train", 4, shuffle=False)) == list(range(10))


def test_training_pipeline_holds_every_example_once_an_epoch() -> None:
    dataset = images().pipeline("train", 4)
    one, two = order(dataset), order(dataset)
    assert sorted(one) == sorted(two) == list(range(10))
    assert one != two  # another order each epoch
    assert one != list(range(10))
    again = images().pipeline("train", 4)
    assert [order(again), order(again)] == [one, two]
    assert order(images().pipeline("train", 4, seed=1)) != one


def test_repeat_mixes_no_epochs() -> None:
    dataset = images().pipeline("train", 4, repeat=True)
    batches = epoch(dataset.take(6))
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    one, two = ([int(x[0, 0, 0]) for batch in half for x in batch] for half in (batches[:3], batches[3:]))
    assert sorted(one) == sorted(two) == list(range(10))
    assert one != two
    dropped = images().pipeline("train", 4, repeat=True, drop_remainder=True)
    assert dropped.element_spec.shape.as_list() == [4, 2, 3, 1]


def test_conditional_pipeline_keeps_labels_with_their_images() -> None:
    batches = epoch(images().pipeline("train", 4, conditional=True))
    assert all(set(batch) == {"values", "condition"} for batch in batches)
    condition = np.concatenate([batch["condition"] for batch in batches])
    values = np.concatenate([batch["values"] for batch in batches])
    assert condition.dtype == np.int32
    assert condition.tolist() != sorted(condition)
    np.testing.assert_array_equal(values[:, 1, 2, 0], condition)


def test_flip_mirrors_about_half_of_the_images_anew_each_epoch() -> None:
    x = np.broadcast_to(np.arange(3, dtype=np.uint8)[:, None], (400, 2, 3, 1))
    dataset = images(x_train=x, y_train=None).pipeline("train", 64, flip=True)
    epochs = [np.concatenate(epoch(dataset)) for _ in range(2)]
    flipped = [values[:, 0, 0, 0] == 2 for values in epochs]
    for values, mask in zip(epochs, flipped, strict=True):
        np.testing.assert_array_equal(values[mask], x[mask][:, :, ::-1])
        np.testing.assert_array_equal(values[~mask], x[~mask])
        assert 150 < mask.sum() < 250
    assert (flipped[0] != flipped[1]).any()
    again = images(x_train=x, y_train=None).pipeline("train", 64, flip=True)
    np.testing.assert_array_equal(np.concatenate(epoch(again)), epochs[0])


def test_pipeline_faults() -> None:
    with pytest.raises(ValueError, match="split='valid' is unknown; expected one of 'train', 'test'"):
        images().pipeline("valid", 4)
    with pytest.raises(ValueError, match="has no labels for its test split"):
        images(y_test=None).pipeline("test", 4, conditional=True)
    for batch_size in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=f"batch_size={batch_size!r} is not a size"):
            images().pipeline("train", batch_size)


def test_import_is_light() -> None:
    code = (
        "import sys, tfprior.data; tfprior.data.load, tfprior.data.Images; "
        "print([n for n in ('tensorflow', 'keras', 'sklearn', 'PIL') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
