"""What a prior has to beat, computed by hand."""

import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tfprior.measuring import baseline_bits
from tfprior.measuring.baselines import file_sizes


def test_uniform_and_histogram_are_what_a_hand_computes() -> None:
    train_images = np.array([[0, 1], [0, 2], [0, 1]], "uint8").reshape(3, 1, 2, 1)
    images = np.array([[0, 1], [2, 2]], "uint8").reshape(2, 1, 2, 1)
    # Of four levels: the first position counts 3+1, 1, 1, 1 of 7 and the second 1, 2+1, 1+1, 1 of 7.
    expected = -(math.log2(4 / 7) + math.log2(3 / 7) + math.log2(1 / 7) + math.log2(2 / 7)) / 4
    found = baseline_bits(train_images, images, 4)
    assert list(found)[:2] == ["uniform", "histogram"]
    assert found["uniform"] == 2
    assert found["histogram"] == pytest.approx(expected, abs=1e-12)


def bytes_of(pixels: np.ndarray, format: str, **options: Any) -> int:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format, **options)
    return file.tell()


def test_files_are_the_smallest_of_their_forms() -> None:
    images = np.zeros((9, 8, 8, 1), "uint8")
    images[:, 2:6, 2:6] = 200
    forms = {
        "each image alone": list(images[..., 0]),
        "all in one column": [images.reshape(72, 8)],
        "all in one mosaic": [np.tile(images[0, ..., 0], (3, 3))],
    }
    found = baseline_bits(images, images, 256)
    assert len(found) == 4
    for name, options in {
        "PNG": {"optimize": True},
        "WebP": {"lossless": True, "exact": True, "method": 4, "quality": 75},
    }.items():
        sizes = {form: sum(bytes_of(one, name, **options) for one in made) for form, made in forms.items()}
        assert file_sizes(images, 256)[name] == sizes
        smallest = min(sizes, key=sizes.__getitem__)
        assert found[f"{name} ({smallest})"] == 8 * sizes[smallest] / images.size
        assert smallest != "each image alone"  # nine headers cost more than one


def test_files_are_left_out_where_they_do_not_fit() -> None:
    images = np.zeros((2, 2, 2, 1), "int32")
    assert set(baseline_bits(images, images, 300)) == {"uniform", "histogram"}
    many = np.zeros((2, 2, 2, 5), "uint8")
    assert set(baseline_bits(many, many, 4)) == {"uniform", "histogram"}


def test_baselines_refuse_other_grids() -> None:
    with pytest.raises(ValueError, match="equal grids"):
        baseline_bits(np.zeros((2, 2, 2, 1), int), np.zeros((2, 3, 2, 1), int), 4)
