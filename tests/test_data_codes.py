"""Folders of codes: what damaged ones are told. What they hold is tested beside the tokenizers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import Doubling, integers

from tfprior.data import ShardedCodes, encode_dataset, load


def codes(path: Path, count: int = 10) -> np.ndarray:
    """Writes shards of four grids and returns what they hold."""
    values = integers(count, 4, 2, 1, top=4)
    encode_dataset(Doubling(), values, path, 4, progress=False)
    return 2 * values


def change(path: Path, **entries: Any) -> None:
    file = path / "codes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def test_codes_come_back(tmp_path: Path) -> None:
    written = codes(tmp_path)
    read = ShardedCodes(tmp_path)
    assert (read.grid_shape, read.num_levels, len(read)) == ((4, 2, 1), 8, 10)
    np.testing.assert_array_equal(read.arrays(), written)
    assert [len(shard["values"]) for shard in read.shards()] == [4, 4, 2]
    batches = list(read.pipeline(3, shuffle=False).as_numpy_iterator())
    np.testing.assert_array_equal(np.concatenate(batches), written)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"grid_shape": [4, 2]}, r"damaged \(grid_shape is \[4, 2\]\)"),
        ({"grid_shape": [4, 0, 1]}, r"damaged \(grid_shape has 0\)"),
        ({"num_levels": "8"}, r"damaged \(num_levels has '8'\)"),
        ({"shard_size": True}, r"damaged \(shard_size has True\)"),
        ({"num_examples": -1}, r"damaged \(num_examples has -1\)"),
    ],
)
def test_damaged_descriptions_are_told(entries: dict[str, Any], message: str, tmp_path: Path) -> None:
    codes(tmp_path)
    change(tmp_path, **entries)
    with pytest.raises(ValueError, match=message):
        ShardedCodes(tmp_path)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"grid_shape": [2, 4, 1]},
            r"codes of shape \(4, 4, 2, 1\); expected 4 grids of \(2, 4, 1\) below 8",
        ),
        (
            {"num_levels": 5},
            r"codes-00000\.npz holds uint8 codes .*below 5: delete it and call encode_dataset",
        ),
        (
            {"num_examples": 9},
            r"codes-00002\.npz holds uint8 codes of shape \(2, 4, 2, 1\); expected 1 grids",
        ),
        ({"num_examples": 10**9}, r"codes-00002\.npz holds uint8 codes of shape \(2, 4, 2, 1\); expected 4"),
    ],
)
def test_shards_that_are_not_as_described_are_told(
    entries: dict[str, Any], message: str, tmp_path: Path
) -> None:
    codes(tmp_path)
    change(tmp_path, **entries)
    with pytest.raises(ValueError, match=message):
        ShardedCodes(tmp_path).arrays()


def test_a_folder_of_codes_is_a_data_set(tmp_path: Path) -> None:
    written = codes(tmp_path)
    loaded = load(tmp_path)
    assert (loaded.are_codes, loaded.num_levels) == (True, 8)
    both = np.concatenate([loaded.x_train, loaded.x_test])
    assert sorted(map(bytes, both)) == sorted(map(bytes, written.astype("uint8")))
    with pytest.raises(ValueError, match="holds codes; expected images, to be resized or cached"):
        load(tmp_path, image_size=4)


def test_codes_with_vectors_are_no_data_set(tmp_path: Path) -> None:
    vectors = np.zeros((12, 3), "float32")
    encode_dataset(Doubling(), {"values": integers(12, 4, 2, 1, top=4), "condition": vectors}, tmp_path)
    with pytest.raises(ValueError, match=r"with float32 conditions of shape \(12, 3\); expected labels"):
        load(tmp_path)


def test_batches_of_codes_are_a_function_of_the_step(tmp_path: Path) -> None:
    written = codes(tmp_path)
    for drop_remainder, steps in ((False, 4), (True, 3)):
        data = ShardedCodes(tmp_path).resumable(3, seed=1, drop_remainder=drop_remainder)
        assert data.steps_per_epoch == steps
        whole = list(data.starting_at(0).take(2 * steps).as_numpy_iterator())
        if not drop_remainder:
            first, second = np.concatenate(whole[:steps]), np.concatenate(whole[steps:])
            assert not np.array_equal(first, second)
            for each in (first, second):
                assert sorted(map(bytes, each.astype("uint8"))) == sorted(map(bytes, written.astype("uint8")))
        for step in range(2 * steps):
            again = list(data.starting_at(step).take(2 * steps - step).as_numpy_iterator())
            for one, other in zip(whole[step:], again, strict=True):
                np.testing.assert_array_equal(one, other)
