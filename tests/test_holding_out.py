"""What is trained on, validated on and shown."""

import numpy as np
import pytest
from small_runs import made

from tfprior.data import hold_out_validation, split_of, spread


def test_the_held_out_part_is_disjoint_and_repeats() -> None:
    images = made(50)
    seen, held_out = hold_out_validation(images, 0.3, 2000, 4, seed=1)
    assert len(held_out.x_train) == 12  # 15 in whole batches of 4
    rows = {image.tobytes() for image in seen.x_train} | {image.tobytes() for image in held_out.x_train}
    assert len(seen.x_train) + 12 == len(rows) == 50
    settings = {"validation_fraction": 0.3, "validation_limit": 2000, "batch_size": 4, "seed": 1}
    values, labels = split_of(images, "validation", settings)
    np.testing.assert_array_equal(values, held_out.x_train)
    np.testing.assert_array_equal(labels, held_out.y_train)
    assert len(hold_out_validation(images, 0.3, 5, 64, seed=1)[1].x_train) == 5


def test_too_few_images_to_hold_some_out() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        hold_out_validation(made(1), 0.1, 2000, 8, seed=0)


def test_classes_take_turns() -> None:
    labels = np.array([1, 1, 0, 2, 0, 1])
    np.testing.assert_array_equal(labels[spread(labels, 6)], [0, 1, 2, 0, 1, 1])
    np.testing.assert_array_equal(spread(None, 3), [0, 1, 2])
