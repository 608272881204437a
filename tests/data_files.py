"""Small data sets and files for the tests of tfprior.data."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfprior import data

RNG = np.random.default_rng(0)


def integers(*shape: int, top: int = 256, dtype: Any = np.uint8) -> np.ndarray:
    return RNG.integers(top, size=shape).astype(dtype)


class Doubling:
    """Codes of twice the level, in a grid of the images' size."""

    code_shape = (4, 2, 1)
    codebook_size = 8

    def encode(self, images: Any) -> np.ndarray:
        return 2 * np.asarray(images)

    def weights_digest(self) -> str:
        return "ab12"


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


def save_arrays(path: Path, **changes: Any) -> Path:
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


def check_sentence(error: BaseException, source: str) -> None:
    """One line that names the source, what was expected and a remedy."""
    text = str(error)
    assert source in text
    assert "expected" in text
    assert ":" in text
    assert text.endswith((".", "…"))
    assert "\n" not in text
