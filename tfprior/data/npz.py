"""Images in an .npz file: x_train, and if present y_train, x_test, y_test, num_levels.

Codes have num_levels and are_codes, and if known their origin: tokenizer, tokenizer_digest, tokenizer_images.
"""

import dataclasses
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.atomic import atomic_path

from .holdout import hold_out
from .images import CodesOrigin, Images
from .levels import as_labels, as_values, check_num_levels, smallest

ORIGIN = ("tokenizer", "tokenizer_digest", "tokenizer_images")
KEYS = ("x_train", "y_train", "x_test", "y_test", "num_levels", "are_codes", *ORIGIN)


def read_npz(path: Path, num_levels: int | None = None) -> Images:
    """The images of an .npz file; without x_test, one tenth of x_train is held out.

    Raises:
        ValueError: for an unreadable file, pickled objects, a missing x_train, arrays that are no images, and
            codes whose number is not stored or another one.
    """
    arrays = _read(path)
    are_codes = _are_codes(arrays, path)
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
        _num_codes(arrays, path, num_levels) if are_codes else num_levels or _num_levels(arrays, path),
        are_codes=are_codes,
        origin=_origin(arrays, path) if are_codes else None,
    )


def save_npz(images: Images, path: str | os.PathLike[str]) -> None:
    """Writes the data set as `load` reads it, at once; values are in the smallest unsigned type.

    Raises:
        ValueError: for a name that does not end in .npz.
    """
    if Path(path).suffix.lower() != ".npz":
        raise ValueError(f"{path} does not end in .npz; expected a name that does.")
    arrays: dict[str, Any] = {
        "x_train": smallest(images.x_train, images.num_levels),
        "x_test": smallest(images.x_test, images.num_levels),
        "num_levels": images.num_levels,
        "y_train": images.y_train,
        "y_test": images.y_test,
    }
    if images.are_codes:
        arrays["are_codes"] = True
    if images.origin is not None:
        tokenizer, digest, source = dataclasses.astuple(images.origin)
        arrays |= dict(zip(ORIGIN, (tokenizer, digest, json.dumps(source)), strict=True))
    present = {name: array for name, array in arrays.items() if array is not None}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **present)


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


def _are_codes(arrays: dict[str, np.ndarray], path: Path) -> bool:
    flag = arrays.get("are_codes", np.array(False))
    if flag.dtype.kind not in "biu" or flag.size != 1:
        raise ValueError(
            f"are_codes of {path} has dtype {flag.dtype} and shape {flag.shape}; expected True or False: "
            "leave it out for images."
        )
    return bool(flag.item())


def _num_codes(arrays: dict[str, np.ndarray], path: Path, given: int | None) -> int:
    if "num_levels" not in arrays:
        raise ValueError(f"{path} holds codes and no num_levels; expected it: store the codebook's size.")
    stored = _num_levels(arrays, path)
    if given not in (None, stored):
        raise ValueError(f"{path} holds codes of {stored} kinds; leave num_levels={given} out.")
    return stored


def _origin(arrays: dict[str, np.ndarray], path: Path) -> CodesOrigin | None:
    """What the file tells of the tokenizer; None where it tells nothing."""
    if not any(key in arrays for key in ORIGIN):
        return None
    try:
        tokenizer, digest, images = (str(arrays[key]) for key in ORIGIN)
        source = json.loads(images)
        if not isinstance(source, dict):
            raise TypeError(f"tokenizer_images is a {type(source).__name__}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} tells the tokenizer of its codes in a damaged way ({error}); expected "
            f"{', '.join(ORIGIN)}: encode the images again."
        ) from error
    return CodesOrigin(tokenizer, digest, source)
