"""Images: the data sets that are known by name, direct construction, levels and labels."""

import zlib
from typing import Any

import numpy as np
import pytest
from data_files import images, integers

from tfprior import data


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


# Direct construction -------------------------------------------------------------------------------------


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


def test_fewer_levels_share_them_evenly() -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    made = images(x_train=every, y_train=None, x_test=every, y_test=None, num_levels=256)
    for num_levels in (2, 3, 16, 100, 255):
        few = made.with_levels(num_levels)
        assert (few.num_levels, few.x_train.dtype) == (num_levels, np.uint8)
        expected = [level * num_levels // 256 for level in range(256)]
        assert few.x_train.ravel().tolist() == few.x_test.ravel().tolist() == expected
        sizes = np.bincount(expected, minlength=num_levels)
        assert (sizes.min(), sizes.max()) == (256 // num_levels, -(-256 // num_levels))
    assert made.with_levels(256) is made


def test_more_levels_leave_the_values() -> None:
    made = images()
    more = made.with_levels(300)
    assert (more.num_levels, more.x_train.dtype) == (300, np.int32)
    np.testing.assert_array_equal(more.x_train, made.x_train)
    deep = images(x_train=made.x_train.astype(int) * 4096, num_levels=65536)
    np.testing.assert_array_equal(deep.with_levels(16).x_train, made.x_train)


def test_levels_of_codes_stay() -> None:
    codes = images(are_codes=True)
    assert codes.with_levels(17) is codes
    for num_levels in (16, 18):
        with pytest.raises(ValueError, match=rf"holds codes of 17 kinds; leave num_levels={num_levels} out"):
            codes.with_levels(num_levels)
    with pytest.raises(ValueError, match="num_levels=1 of made is not a number of levels"):
        images().with_levels(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"y_train": np.full(10, 2**31 - 1)},
            r"y_train of made lies in \[2147483647, 2147483647\]; expected class",
        ),
        (
            {"y_test": np.full(7, 2**16)},
            r"y_test of made lies in \[65536, 65536\]; expected class indices from 0",
        ),
        ({"y_test": np.full(7, -1)}, r"y_test of made lies in \[-1, -1\]; expected"),
        (
            {"x_test": np.full((7, 2, 3, 1), 2**31 - 1)},
            "reaches up to 2147483647; expected levels below 262144",
        ),
        ({"x_test": np.full((7, 2, 3, 1), 2**64 - 1)}, "up to 18446744073709551615; expected levels below"),
        (
            {"num_levels": 2**31},
            "num_levels=2147483648 of made is not a number of levels; expected an integer from",
        ),
        (
            {"x_train": np.zeros((10, 3, 8, 9), int)},
            r"has shape \(10, 3, 8, 9\), channels first",
        ),
    ],
)
def test_what_would_take_all_memory_later_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        images(**changes)
