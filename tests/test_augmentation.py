"""Random resized crops: which boxes are drawn, what becomes of them, and that a step repeats."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from data_files import images
from PIL import Image

from tfprior.data.augmentation import random_boxes, resized_crops

SEED = tf.constant([3, 5], "int64")


def pictures(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, height, width, channels)).astype("uint8")


def test_shares_of_the_area_and_aspects_are_those_asked_for() -> None:
    boxes = random_boxes(tf.constant(4000), (160, 200), (0.2, 0.6), SEED).numpy()
    (row, column), (height, width) = boxes[:, :2].T, boxes[:, 2:].T
    share, aspect = height * width / (160 * 200), np.log(width / height) / np.log(4 / 3)
    for found, low, high in ((share, 0.2, 0.6), (aspect, -1, 1)):  # uniform: each decile holds a tenth
        assert low - 0.03 < found.min()
        assert found.max() < high + 0.03
        deciles, _ = np.histogram(found, np.linspace(low, high, 11))
        np.testing.assert_allclose(deciles / 4000, 0.1, atol=0.025)
    assert (row >= 0).all()
    assert (column >= 0).all()
    assert (row + height <= 160).all()
    assert (column + width <= 200).all()
    for place, room in ((row, 160 - height), (column, 200 - width)):
        quarters, _ = np.histogram((place + 0.5) / (room + 1), 4, (0, 1))
        np.testing.assert_allclose(quarters / 4000, 0.25, atol=0.04)
    assert abs(np.corrcoef(row / (161 - height), column / (201 - width))[0, 1]) < 0.05


@pytest.mark.parametrize(
    ("image_size", "box"),
    [((10, 40), (0, 13, 10, 13)), ((40, 10), (13, 0, 13, 10)), ((12, 12), (0, 0, 12, 12))],
)
def test_where_no_box_fits_it_is_the_largest_about_the_centre(image_size: Any, box: Any) -> None:
    boxes = random_boxes(tf.constant(20), image_size, (1.0, 1.0), SEED).numpy()
    assert np.equal(boxes, box).all(axis=1).any()
    assert (boxes[:, 2:] <= image_size).all()


def test_boxes_are_resized_as_pillow_does() -> None:
    """Its floats, for it rounds bytes in between."""
    values = pictures(6, 23, 31)
    boxes = random_boxes(tf.constant(6), (23, 31), (0.1, 0.9), SEED).numpy()
    found = resized_crops(tf.constant(values), (12, 14), (0.1, 0.9), 256, SEED).numpy()
    assert found.dtype == np.uint8
    for image, made, (row, column, height, width) in zip(values, found, boxes, strict=True):
        for channel in range(3):
            part = image[row : row + height, column : column + width, channel].astype("float32")
            exact = np.asarray(Image.fromarray(part).resize((14, 12), Image.Resampling.BICUBIC))
            assert np.abs(made[..., channel] - np.clip(exact, 0, 255)).max() < 0.501


def test_the_whole_image_in_its_own_size_is_the_image() -> None:
    values = pictures(3, 9, 9, 1).astype("int32") * 200
    boxes = random_boxes(tf.constant(3), (9, 9), (1.0, 1.0), SEED).numpy()
    found = resized_crops(tf.constant(values), (9, 9), (1.0, 1.0), 65536, SEED).numpy()
    whole = (boxes[:, 2:] == 9).all(axis=1)
    assert whole.any()
    np.testing.assert_array_equal(found[whole], values[whole])


def test_a_step_repeats_wherever_reading_begins() -> None:
    values = pictures(10, 8, 10)
    made = images(x_train=values, y_train=None, x_test=values, y_test=None, num_levels=256)
    data = made.resumable(4, seed=1, resized_crop=(0.2, 1.0), crop=6, flip=True, drop_remainder=True)
    batches = list(data.starting_at(0).take(6).as_numpy_iterator())
    assert batches[0].shape == (4, 6, 6, 3)
    assert not np.array_equal(batches[0], batches[1])
    for one, other in zip(batches[3:], data.starting_at(3).take(3).as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(one, other)
    others = made.resumable(4, seed=2, resized_crop=(0.2, 1.0), crop=6, flip=True, drop_remainder=True)
    assert not np.array_equal(next(others.starting_at(0).as_numpy_iterator()), batches[0])
    digests = {made.resumable(4, resized_crop=scale).digest for scale in (None, (0.2, 1.0), (0.3, 1.0))}
    assert len(digests) == 3
    (whole,) = made.pipeline("test", 10, resized_crop=(0.5, 1.0)).as_numpy_iterator()
    assert whole.shape == values.shape


@pytest.mark.parametrize("scale", [(0, 1), (0.5, 0.2), (0.2, 1.1), 0.2, (True, 1), ("a", 1)])
def test_shares_that_are_none(scale: Any) -> None:
    with pytest.raises(ValueError, match=r"is no range of shares .*: pass \(0.2, 1.0\), say"):
        images().pipeline("train", 2, resized_crop=scale)
