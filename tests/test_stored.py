"""Images that stay in their files: the same as those in memory, batch by batch, and what is refused."""

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import check_sentence, integers, save_image

from tfprior.data import Images, folder_cache, hold_out_validation, load, mapped
from tfprior.data.stored import StoredArray
from tfprior.measuring.baselines import baseline_bits


def flip_a_bit(file: Path) -> None:
    """In the middle."""
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "LARGE", 0)


def assert_same(stored: Images, held: Images) -> None:
    """Whatever is asked of them."""
    assert isinstance(stored.x_train, StoredArray)
    assert not isinstance(held.x_train, StoredArray)
    assert (stored.grid_shape, stored.num_levels) == (held.grid_shape, held.num_levels)
    for name in ("x_train", "x_test", "y_train", "y_test"):
        of_stored, of_held = getattr(stored, name), getattr(held, name)
        if of_held is None:
            assert of_stored is None
            continue
        np.testing.assert_array_equal(np.asarray(of_stored), of_held)
        np.testing.assert_array_equal(of_stored[-1], of_held[-1])
        np.testing.assert_array_equal(of_stored[[-1, 0, -1]], of_held[[-1, 0, -1]])
        np.testing.assert_array_equal(of_stored[-2:], of_held[-2:])
        assert (of_stored.shape, of_stored[:1].dtype) == (of_held.shape, of_held.dtype)
    parts = [hold_out_validation(images, 0.3, 100, 2, seed=1) for images in (stored, held)]
    (stored_seen, stored_out), (held_seen, held_out) = parts
    assert isinstance(stored_seen.x_train, StoredArray)  # nine tenths of what may not fit into memory
    np.testing.assert_array_equal(stored_out.x_train, held_out.x_train)
    scores = [
        baseline_bits(seen.x_train, held_out.x_train, held.num_levels) for seen in (stored_seen, held_seen)
    ]
    assert scores[0] == scores[1]
    options: dict[str, Any] = {"seed": 3, "flip": True, "conditional": held.y_train is not None}
    data = [seen.resumable(3, **options) for seen in (stored_seen, held_seen)]
    assert data[0].digest == data[1].digest
    for ours, theirs in zip(*(each.starting_at(1).take(7) for each in data), strict=True):
        for name in ours if isinstance(ours, dict) else [...]:
            np.testing.assert_array_equal(ours[name], theirs[name])


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": integers(21, 4, 5), "y_train": np.arange(21)[:, None] % 3},
        {"x_train": integers(21, 4, 5, 3, top=20).astype("int64"), "num_levels": 20},
        {"x_train": integers(21, 4, 5, 1, top=900).astype("uint16"), "num_levels": 1000},
        {"x_train": integers(9, 4, 5, top=2).astype(bool), "x_test": integers(5, 4, 5, top=2)},
        {"x_train": np.asfortranarray(integers(9, 4, 5, 3)), "x_test": integers(5, 4, 5, 3)},
    ],
    ids=["labels", "wide integers", "many levels", "booleans", "column by column"],
)
def test_arrays_of_npz(arrays: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "images.npz", **arrays)
    held = load(tmp_path / "images.npz")
    monkeypatch.setattr(mapped, "LARGE", 0)
    assert_same(load(tmp_path / "images.npz"), held)


def test_arrays_of_npy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "images.npy", integers(30, 4, 5))
    held = load(tmp_path / "images.npy", num_levels=16)
    monkeypatch.setattr(mapped, "LARGE", 0)
    assert_same(load(tmp_path / "images.npy", num_levels=16), held)


@pytest.mark.usefixtures("all_are_large")
def test_compressed_arrays_are_read_whole(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "images.npz", x_train=integers(11, 4, 5))
    assert type(load(tmp_path / "images.npz").x_train) is np.ndarray


@pytest.mark.usefixtures("all_are_large")
@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.full((4, 5, 5), -1), "reaches down to -1"),
        (np.zeros((4, 5, 5), "float32"), "has dtype float32"),
        (np.zeros((0, 5, 5), "uint8"), "at least one image"),
        (np.zeros((4, 3, 9, 9), "uint8"), "channels first"),
        (np.uint8(3), "reshape it to a stack"),
    ],
)
def test_what_is_no_image_is_refused(values: Any, said: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "images.npz", x_train=values)
    with pytest.raises(ValueError, match=said) as caught:
        load(tmp_path / "images.npz")
    check_sentence(caught.value, "images.npz")


@pytest.mark.usefixtures("all_are_large")
def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "images.npz"
    np.savez(file, x_train=integers(11, 40, 50))
    flip_a_bit(file)
    with pytest.raises(ValueError, match=r"images\.npz could not be read .*CRC") as caught:
        load(file)
    check_sentence(caught.value, "images.npz")


@pytest.mark.usefixtures("all_are_large")
def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", integers(11, 4, 5))
    images = load(tmp_path / "images.npy")
    (tmp_path / "images.npy").unlink()
    with pytest.raises(ValueError, match=r"images\.npy could not be read .*the arrays that it had"):
        images.x_train[:2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of images in two classes, grey ones and then one in colour."""
    monkeypatch.setattr(folder_cache, "SHARD", 4)
    for index in range(22):
        shape = (6, 5, 3) if index == 17 else (6, 5)
        save_image(tmp_path / "images" / f"class{index % 2}" / f"{index:02}.png", integers(*shape))
    return tmp_path / "images"


def test_a_cache_holds_the_images_of_a_folder(folder: Path, tmp_path: Path) -> None:
    assert_same(load(folder, cache=tmp_path / "cache"), load(folder))
    assert_same(load(folder, image_size=4, cache=tmp_path / "cache"), load(folder, image_size=4))
    assert len(list((tmp_path / "cache").iterdir())) == 2  # one of each size


def test_what_a_cache_holds_is_not_decoded_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded, decode = [], folder_cache.decoded

    def counted(paths: Any, image_size: Any) -> Any:
        if len(decoded) == 3:
            raise KeyboardInterrupt
        decoded.append(len(paths))
        return decode(paths, image_size)

    monkeypatch.setattr(folder_cache, "decoded", counted)
    with pytest.raises(KeyboardInterrupt):
        load(folder, cache=tmp_path / "cache")
    assert decoded == [4, 4, 4]
    decoded[:] = []
    assert_same(load(folder, cache=tmp_path / "cache"), load(folder))
    assert decoded == [4, 4, 2]  # not those before
    decoded[:] = [0, 0, 0]  # from here on nothing is
    load(folder, cache=tmp_path / "cache")
    save_image(folder / "class0" / "00.png", integers(6, 5))
    with pytest.raises(KeyboardInterrupt):  # the folder has changed
        load(folder, cache=tmp_path / "cache")


def test_a_damaged_cache_is_named(folder: Path, tmp_path: Path) -> None:
    load(folder, cache=tmp_path / "cache")
    shard = next((tmp_path / "cache").glob("*/images-00002.npz"))
    flip_a_bit(shard)
    with pytest.raises(ValueError, match=r"images-00002\.npz could not be read .*delete it, and they are"):
        load(folder, cache=tmp_path / "cache")


@pytest.mark.parametrize("values", [np.zeros((3, 6, 5), "uint8"), np.zeros((4, 6, 5), "int64")])
def test_a_cache_of_other_images_is_named(values: Any, folder: Path, tmp_path: Path) -> None:
    load(folder, cache=tmp_path / "cache")
    shard = next((tmp_path / "cache").glob("*/images-00001.npz"))
    np.savez(shard, images=values)
    with pytest.raises(ValueError, match=r"images-00001\.npz holds other images .*expected 4: delete it"):
        load(folder, cache=tmp_path / "cache")


def test_images_of_other_sizes_are_named(folder: Path, tmp_path: Path) -> None:
    save_image(folder / "class1" / "19.png", integers(7, 5))
    with pytest.raises(ValueError, match=r"19\.png is 7×5 where .*00\.png is 6×5"):
        load(folder, cache=tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match=r"file could not be written .*expected a folder with room"):
        load(folder, cache=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"

    def full(stream: Any, **_: Any) -> None:
        stream.write(b"half")
        raise OSError(errno.ENOSPC, "disk is gone")

    monkeypatch.setattr(folder_cache.np, "savez", full)
    with pytest.raises(OSError, match=r"cache could not be written \(disk is gone\)"):
        load(folder, cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert len(load(folder, cache=tmp_path / "cache").x_train) == 20


def test_a_cache_is_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected it for a folder of images only"):
        load("digits", cache=tmp_path)
