"""Folders of images: parts, classes and what lies among the images."""

from pathlib import Path

import numpy as np
import pytest
from data_files import check_sentence, integers, save_image

from tfprior import data
from tfprior.data import folder


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
    flat = data.load(tmp_path, image_size=(2, 6))
    assert flat.grid_shape == (2, 6, 1)
    np.testing.assert_array_equal(data.load(tmp_path, image_size=[2, 6]).x_train, flat.x_train)


def test_folder_faults(tmp_path: Path) -> None:
    def fault(source: Path, message: str) -> None:
        with pytest.raises(ValueError, match=message) as told:
            data.load(source)
        check_sentence(told.value, source.name)

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
    save_image(tmp_path / "flat" / "train" / "a.png", integers(2, 2))
    save_image(tmp_path / "flat" / "test" / "dog" / "b.png", integers(2, 2))
    fault(tmp_path / "flat", r"dog/b\.png is in a class and the train images are in none; expected")


def each(folder: Path, *names: str) -> None:
    """One image in each subfolder, filled with its number."""
    for number, name in enumerate(names):
        save_image(folder / name / f"{number}.png", np.full((2, 2), number, np.uint8))


def fills(values: np.ndarray) -> list[int]:
    return values[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
@pytest.mark.parametrize("train", ["train", "training", "Train"])
def test_val_is_for_testing_where_there_is_no_test(val: str, train: str, tmp_path: Path) -> None:
    each(tmp_path, f"{train}/cat", f"{train}/dog", f"{val}/dog", f"{val}/cat")
    loaded = data.load(tmp_path)
    assert loaded.class_names == ("cat", "dog")
    assert (fills(loaded.x_train), loaded.y_train.tolist()) == ([0, 1], [0, 1])
    assert (fills(loaded.x_test), loaded.y_test.tolist()) == ([3, 2], [0, 1])


def test_val_is_for_training_where_there_is_test(tmp_path: Path) -> None:
    each(tmp_path, "train/cat", "train/dog", "val/dog", "testing/dog", "testing/cat")
    loaded = data.load(tmp_path)
    assert loaded.class_names == ("cat", "dog")
    assert (fills(loaded.x_train), loaded.y_train.tolist()) == ([0, 1, 2], [0, 1, 1])
    assert (fills(loaded.x_test), loaded.y_test.tolist()) == ([4, 3], [0, 1])


def test_val_without_classes(tmp_path: Path) -> None:
    each(tmp_path, "train", "val")
    loaded = data.load(tmp_path)
    assert (fills(loaded.x_train), fills(loaded.x_test)) == ([0], [1])
    assert loaded.y_train is loaded.y_test is loaded.class_names is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["val/cat", "cat"], r"has val/ but no train/; expected both or neither: add train/\.$"),
        (
            ["train", "val", "valid"],
            r"has both val/ and valid/; expected one of them: join or rename",
        ),
        (
            ["train/cat", "val/cow"],
            r"val/cow/1\.png is in no class of the train images; expected a",
        ),
        (
            ["train", "extra", "test"],
            r"extra/1\.png is outside of test/, train/; expected all images",
        ),
        (
            ["train", "."],
            r"1\.png is outside of train/; expected all images inside of them: move",
        ),
    ],
)
def test_no_folder_is_skipped(names: list[str], message: str, tmp_path: Path) -> None:
    each(tmp_path, *names)
    with pytest.raises(ValueError, match=message) as told:
        data.load(tmp_path)
    check_sentence(told.value, tmp_path.name)


@pytest.mark.parametrize("name", ["a.svg", "a.heic", "a.npy", "image", "a.pdf", "a.avif"])
def test_what_may_be_an_image_is_not_skipped(name: str, tmp_path: Path) -> None:
    each(tmp_path, "cat", "dog")
    (tmp_path / "dog" / name).write_bytes(b"?")
    with pytest.raises(ValueError, match=rf"dog/{name} is no image file that is read; expected") as told:
        data.load(tmp_path)
    check_sentence(told.value, name)


def test_what_is_plainly_no_image_is_left_out(tmp_path: Path) -> None:
    each(tmp_path, "cat", "dog")
    for name in ("Thumbs.db", ".DS_Store", "labels.CSV", "README", "desktop.ini", "a.xml", "notes.txt"):
        (tmp_path / "dog" / name).write_bytes(b"?")
    save_image(tmp_path / "__MACOSX" / "cat" / "a.png", integers(9, 9))
    save_image(tmp_path / ".git" / "a.png", integers(9, 9))
    loaded = data.load(tmp_path)
    assert len(loaded.x_train) + len(loaded.x_test) == 2
    assert loaded.class_names == ("cat", "dog")


def test_links_are_followed_and_circles_refused(tmp_path: Path) -> None:
    each(tmp_path / "elsewhere", "cat", "dog")
    (tmp_path / "pets").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).symlink_to(tmp_path / "elsewhere" / name)
    assert data.load(tmp_path / "pets").class_names == ("cat", "dog")
    (tmp_path / "pets" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(ValueError, match=r"lost\.png is no image file that is read"):
        data.load(tmp_path / "pets")
    (tmp_path / "pets" / "lost.png").unlink()
    (tmp_path / "elsewhere" / "cat" / "up").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=r"cat/up links to a folder it lies in; expected an end: remove"):
        data.load(tmp_path / "elsewhere")


def test_images_of_a_folder_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each(tmp_path, "a", "b", "c")
    monkeypatch.setattr(folder, "MAX_BYTES", 9)
    with pytest.raises(ValueError, match=r"\.png and the images before it take more than 0 GiB"):
        data.load(tmp_path)
