"""Images.pipeline: what batches hold, in which order."""

from typing import Any

import numpy as np
import pytest
from data_files import images


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


@pytest.mark.parametrize("drop_remainder", [False, True])
def test_batches_are_a_function_of_the_step(drop_remainder: bool) -> None:
    data = images().resumable(4, seed=3, conditional=True, flip=True, drop_remainder=drop_remainder)
    steps = data.steps_per_epoch
    assert steps == (2 if drop_remainder else 3)
    whole = epoch(data.starting_at(0).take(3 * steps))
    assert [len(batch["values"]) for batch in whole] == 3 * [4, 4, 2][:steps]
    epochs = [
        [int(v[1, 2, 0]) for b in whole[k * steps : (k + 1) * steps] for v in b["values"]] for k in range(3)
    ]
    assert len({*map(tuple, epochs)}) == 3  # another order each
    if not drop_remainder:
        assert all(sorted(order) == list(range(10)) for order in epochs)
    for step in range(2 * steps):
        again = epoch(data.starting_at(step).take(3 * steps - step))
        for one, other in zip(whole[step:], again, strict=True):
            np.testing.assert_array_equal(one["values"], other["values"])
            np.testing.assert_array_equal(one["condition"], other["condition"])
    other_seed = images().resumable(4, seed=4, conditional=True, drop_remainder=drop_remainder)
    assert order_of(epoch(other_seed.starting_at(0).take(steps))) != order_of(whole[:steps])


def order_of(batches: list[Any]) -> list[int]:
    return [int(label) for batch in batches for label in batch["condition"]]


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


def test_crops_are_parts_of_the_images() -> None:
    values = np.arange(5 * 6 * 8 * 1).reshape(5, 6, 8, 1) % 251
    made = images(x_train=values, y_train=None, x_test=values, y_test=None, num_levels=256)
    (centred,) = epoch(made.pipeline("test", 5, crop=(2, 4)))
    np.testing.assert_array_equal(centred, values[:, 2:4, 2:6])
    data = made.resumable(5, seed=1, crop=(2, 4))
    batches = epoch(data.starting_at(0).take(60))
    assert batches[0].shape == (5, 2, 4, 1)
    parts = {
        bytes(values[n, y : y + 2, x : x + 4].astype("uint8")): (y, x)
        for n in range(5)
        for y in range(5)
        for x in range(5)
    }
    places = [parts[bytes(part)] for batch in batches for part in batch]  # each is a part of an image
    assert set(places) == {(y, x) for y in range(5) for x in range(5)}
    for one, other in zip(batches[7:], epoch(data.starting_at(7).take(53)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert data.digest != made.resumable(5, seed=1).digest
    assert epoch(made.pipeline("train", 5, crop=3))[0].shape == (5, 3, 3, 1)


@pytest.mark.parametrize(
    ("crop", "said"),
    [
        ((7, 2), r"images of 6×8 .*at most as large"),
        (0, "crop=0 is not a size"),
        ((2, 9), "as large"),
    ],
)
def test_crops_that_are_none(crop: Any, said: str) -> None:
    values = np.zeros((5, 6, 8, 1), int)
    with pytest.raises(ValueError, match=said):
        images(x_train=values, x_test=values, y_train=None, y_test=None).pipeline("train", 2, crop=crop)
