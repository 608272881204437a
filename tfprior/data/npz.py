"""Images from an .npz file: x_train, and if present y_train, x_test, y_test, num_levels."""

import zipfile
from pathlib import Path

import numpy as np

from .holdout import hold_out
from .images import Images
from .levels import as_labels, as_values, check_num_levels

KEYS = ("x_train", "y_train", "x_test", "y_test", "num_levels")


def read_npz(path: Path, num_levels: int | None = None) -> Images:
    """The images of an .npz file; without x_test, one tenth of x_train is held out.

    Raises:
        ValueError: for an unreadable file, pickled objects, a missing x_train, or arrays that are no images.
    """
    arrays = _read(path)
    if "x_train" not in arrays:
        raise ValueError(
            f"{path} has no x_train; expected arrays named x_train, y_train, x_test and y_test: save the "
            "images under these names."
        )
    if "x_test" not in arrays:
        _hold_out(arrays, path)
    for key in ("x_train", "x_test"):
        arrays[key] = as_values(arrays[key], f"{key} of {path}")
    return Images(
        path.stem,
        arrays["x_train"],
        arrays.get("y_train"),
        arrays["x_test"],
        arrays.get("y_test"),
        num_levels or _num_levels(arrays, path),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    key = None
    try:
        with zipfile.ZipFile(path):  # tells what is no archive before NumPy takes it for a pickle
            pass
        with np.load(path, allow_pickle=False) as archive:
            arrays = {}
            for key in KEYS:
                if key in archive.files:
                    arrays[key] = archive[key]
            return arrays
    except Exception as error:  # a damaged archive may raise almost anything, from zlib.error to MemoryError
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{key} of {path} holds Python objects; expected an array of integers: objects are never "
                "unpickled, so save a plain array."
            ) from error
        raise ValueError(
            f"{path} could not be read ({error}); expected a complete .npz file: write or copy it again."
        ) from error


def _hold_out(arrays: dict[str, np.ndarray], path: Path) -> None:
    x = as_values(arrays["x_train"], f"x_train of {path}")
    y = as_labels(arrays.get("y_train"), len(x), f"y_train of {path}")
    train, test = hold_out(len(x), f"x_train of {path}")
    arrays["x_train"], arrays["x_test"] = x[train], x[test]
    if y is not None:
        arrays["y_train"], arrays["y_test"] = y[train], y[test]


def _num_levels(arrays: dict[str, np.ndarray], path: Path) -> int:
    stored = arrays.get("num_levels")
    if stored is not None:
        return check_num_levels(stored.item() if stored.size == 1 else stored.tolist(), str(path))
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    top = max(int(x_train.max()), int(x_test.max()))
    if top <= 1:
        return 2
    return 256 if x_train.dtype == np.uint8 == x_test.dtype else top + 1
