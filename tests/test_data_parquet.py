"""Pictures in Parquet files: what slices and `load` read, and what is refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from data_files import check_sentence, integers, save_image
from PIL import Image

from tfprior.data import load, open_slices


def png(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


def save(path: Path, images: list[Any], labels: Any = None, as_struct: bool = True, rows: int = 3) -> Path:
    """As Hugging Face's hub has them, in row groups of a few rows."""
    files = [image if isinstance(image, bytes) else png(image) for image in images]
    column = pa.array([{"bytes": file, "path": None} for file in files]) if as_struct else pa.array(files)
    columns = {"image": column} | ({} if labels is None else {"label": pa.array(labels)})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


def images(count: int, *shape: int) -> list[np.ndarray]:
    return list(integers(count, *shape))


@pytest.mark.parametrize("as_struct", [True, False])
def test_slices_of_a_file(as_struct: bool, tmp_path: Path) -> None:
    pictures = images(11, 4, 5, 3)
    slices = open_slices(save(tmp_path / "a.parquet", pictures, np.arange(11), as_struct))
    assert (slices.count, slices.grid_shape, slices.num_levels) == (11, (4, 5, 3), 256)
    for start, stop in ((0, 11), (2, 3), (2, 8), (10, 11)):
        read = slices.read(start, stop)
        np.testing.assert_array_equal(read.values, pictures[start:stop])
        np.testing.assert_array_equal(read.labels, np.arange(start, stop))


def test_slices_of_a_folder_in_parts(tmp_path: Path) -> None:
    pictures = images(9, 4, 5)
    for name, part in (
        ("train-0.parquet", slice(0, 4)),
        ("train-1.parquet", slice(4, 6)),
        ("test-0.parquet", slice(6, 9)),
    ):
        save(tmp_path / "data" / name, pictures[part])
    train, test = (open_slices(tmp_path / "data", part) for part in ("train", "test"))
    np.testing.assert_array_equal(train.read(1, 6).values[..., 0], pictures[1:6])
    np.testing.assert_array_equal(test.read(0, 3).values[..., 0], pictures[6:])
    assert train.digest != test.digest
    assert open_slices(tmp_path / "data", channels=3).read(0, 2).values.shape == (2, 4, 5, 3)
    loaded = load(tmp_path / "data", image_size=4)
    assert (loaded.x_train.shape, loaded.x_test.shape, loaded.y_train) == ((6, 4, 4, 1), (3, 4, 4, 1), None)


def test_a_file_is_loaded_with_a_part_held_out(tmp_path: Path) -> None:
    pictures = images(20, 4, 5)
    loaded = load(save(tmp_path / "a.parquet", pictures, np.arange(20)))
    assert (len(loaded.x_train), len(loaded.x_test), loaded.num_levels) == (18, 2, 256)
    for values, labels in ((loaded.x_train, loaded.y_train), (loaded.x_test, loaded.y_test)):
        np.testing.assert_array_equal(values[..., 0], np.stack(pictures)[labels])


def test_what_is_to_validate_on_is_not_skipped(tmp_path: Path) -> None:
    pictures = images(9, 4, 5)
    for name, start, stop in (("train-0", 0, 4), ("validation-0", 4, 9)):
        save(tmp_path / "two" / f"{name}.parquet", pictures[start:stop])
    assert [open_slices(tmp_path / "two", part).count for part in ("train", "test")] == [4, 5]
    for name, start, stop in (("train-0", 0, 4), ("validation-0", 4, 6), ("test-0", 6, 9)):
        save(tmp_path / "three" / f"{name}.parquet", pictures[start:stop])
    assert [open_slices(tmp_path / "three", part).count for part in ("train", "test")] == [6, 3]
    save(tmp_path / "three" / "more.parquet", pictures)
    with pytest.raises(ValueError, match=r"holds more\.parquet beside files of parts; expected names that"):
        open_slices(tmp_path / "three")


def refused(path: Path, part: str = "train") -> None:
    slices = open_slices(path, part)
    slices.read(0, slices.count)


def test_what_is_refused_is_named(tmp_path: Path) -> None:
    broken = save(tmp_path / "broken.parquet", [*images(2, 4, 5), b"no picture"])
    sizes = save(tmp_path / "sizes.parquet", [*images(2, 4, 5), *images(1, 4, 6)])
    missing = save(tmp_path / "missing.parquet", images(2, 4, 5))
    missing.write_bytes(missing.read_bytes()[:-20])
    numbers, two = tmp_path / "numbers.parquet", tmp_path / "two.parquet"
    pq.write_table(pa.table({"a": [1, 2]}), numbers)
    pq.write_table(pa.table({"a": [b"1"], "b": [b"2"]}), two)
    save(tmp_path / "mixed" / "a.parquet", images(2, 4, 5))
    save(tmp_path / "mixed" / "b.parquet", images(2, 4, 5), np.arange(2))
    for path, words in (
        (broken, "Row 2 of .*broken.parquet could not be read .it is none of PNG"),
        (sizes, "Row 2 of .*is 4×6 where Row 0 of .*is 4×5"),
        (missing, "missing.parquet could not be read .*expected a Parquet file"),
        (numbers, "has the columns a, of which 0 hold pictures; expected one"),
        (two, "has the columns a, b, of which 2 hold pictures; expected one"),
        (tmp_path / "mixed", "holds 4 rows under 2 kinds of columns; expected rows of pictures"),
    ):
        with pytest.raises(ValueError, match=words) as caught:
            refused(path)
        check_sentence(caught.value, path.name)
    save_image(tmp_path / "mixed" / "c.png", images(1, 4, 5)[0])
    with pytest.raises(ValueError, match=r"holds c\.png beside Parquet files; expected these alone: move it"):
        refused(tmp_path / "mixed")
    with pytest.raises(ValueError, match="has no test part; expected files whose names begin with it"):
        refused(sizes, "test")
