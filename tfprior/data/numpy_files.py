"""Images as x_train, and if present y_train, x_test, y_test, num_levels and class_names, of an .npz file.

Codes have num_levels and are_codes, and if known their origin: tokenizer, tokenizer_digest, tokenizer_images;
of several grids also grid and num_grids, and finer ones have the next coarser codes as y_train and y_test.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.atomic import atomic_path

from . import mapped
from .arrays import read_npy, read_npz
from .holdout import hold_out
from .images import CodesOrigin, Images
from .levels import MAX_CLASSES, MAX_LEVELS, as_labels, as_values, check_num_levels, smallest
from .mapped import map_images, map_npy
from .stored import selected
from .stored_images import stored_images

ORIGIN = ("tokenizer", "tokenizer_digest", "tokenizer_images")
GRID = ("grid", "num_grids")
KEYS = ("x_train", "y_train", "x_test", "y_test", "num_levels", "class_names", "are_codes", *ORIGIN, *GRID)


def images_of_npz(path: Path, num_levels: int | None = None) -> Images:
    """The images of an .npz file; without x_test, one tenth of x_train is held out.

    Args:
        path: the file.
        num_levels: what is wanted, which decides where the file does not tell its levels; see `load`.

    Raises:
        ValueError: for an unreadable file, pickled objects, other arrays, a missing x_train, arrays that are
            no images, and codes whose number is not stored.
    """
    large = map_images(path, KEYS, ("x_train", "x_test"), mapped.LARGE)
    arrays: dict[str, Any] = dict(read_npz(path, KEYS, without=large))
    arrays |= {name: stored_images([array], f"{name} of {path}") for name, array in large.items()}
    if "x_train" not in arrays:
        raise ValueError(
            f"{path} has no x_train; expected arrays named x_train, y_train, x_test and y_test: save the "
            "images under these names."
        )
    return _images(arrays, path, num_levels)


def images_of_npy(path: Path, num_levels: int | None = None) -> Images:
    """The images (N, H, W) or (N, H, W, C) of an .npy file, of which one tenth is held out.

    Raises:
        ValueError: as `images_of_npz`.
    """
    array = map_npy(path)
    x_train = stored_images([array], f"x_train of {path}") if array.is_large else read_npy(path)
    return _images({"x_train": x_train}, path, num_levels)


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
        "y_train": _small_codes(images.y_train) if images.are_finer else images.y_train,
        "y_test": _small_codes(images.y_test) if images.are_finer else images.y_test,
        "class_names": None if images.class_names is None else np.array(images.class_names, np.str_),
    }
    if images.are_codes:
        arrays["are_codes"] = True
    if images.origin is not None:
        tokenizer, digest, source, *grid = dataclasses.astuple(images.origin)
        arrays |= dict(zip(ORIGIN, (tokenizer, digest, json.dumps(source)), strict=True))
        if images.origin.num_grids > 1:
            arrays |= dict(zip(GRID, grid, strict=True))
    present = {name: array for name, array in arrays.items() if array is not None}
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **present)


def _small_codes(codes: np.ndarray | None) -> np.ndarray | None:
    return None if codes is None else smallest(codes, int(codes.max()) + 1)


def _images(arrays: dict[str, Any], path: Path, num_levels: int | None) -> Images:
    are_codes = holds_codes(arrays, path)
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
        _num_codes(arrays, path) if are_codes else _num_levels(arrays, path, num_levels),
        _class_names(arrays, path),
        are_codes=are_codes,
        origin=_origin(arrays, path) if are_codes else None,
    )


def _hold_out(arrays: dict[str, Any], path: Path) -> None:
    x = as_values(arrays["x_train"], f"x_train of {path}")
    y = as_labels(arrays.get("y_train"), len(x), f"y_train of {path}")
    train, test = hold_out(len(x), f"x_train of {path}")
    arrays["x_train"], arrays["x_test"] = selected(x, train), selected(x, test)
    if y is not None:
        arrays["y_train"], arrays["y_test"] = y[train], y[test]


def _num_levels(arrays: dict[str, np.ndarray], path: Path, wanted: int | None) -> int:
    """The file's own number of levels; where it does not tell, the one that is wanted if all values fit."""
    if "num_levels" in arrays:
        return stored_levels(arrays, path)
    x_train, x_test = arrays["x_train"], arrays["x_test"]
    top = max(int(x_train.max()), int(x_test.max()))
    if top <= 1:
        return 2
    if wanted is not None and top < wanted:
        return wanted
    if x_train.dtype == np.uint8 == x_test.dtype:
        return 256
    if wanted is not None:
        raise ValueError(
            f"{path} has values up to {top} and does not tell its number of levels, so that {wanted} levels "
            "cannot be made of them; expected an array num_levels beside the images: store it."
        )
    if top >= MAX_LEVELS:
        raise ValueError(
            f"{path} has values up to {top}; expected levels below {MAX_LEVELS}: quantize the values."
        )
    return top + 1


def stored_levels(arrays: Mapping[str, Any], path: Path) -> int:
    """The number of levels that a file tells, or ValueError."""
    stored = arrays["num_levels"]
    if stored.size != 1:
        raise ValueError(
            f"num_levels of {path} has shape {stored.shape}; expected one number: 8-bit images have 256."
        )
    return check_num_levels(stored.item(), str(path))


def holds_codes(arrays: Mapping[str, Any], path: Path) -> bool:
    """Whether a file says that it holds codes."""
    flag = arrays.get("are_codes", np.array(False))
    if flag.dtype.kind not in "biu" or flag.size != 1:
        raise ValueError(
            f"are_codes of {path} has dtype {flag.dtype} and shape {flag.shape}; expected True or False: "
            "leave it out for images."
        )
    return bool(flag.item())


def _class_names(arrays: dict[str, np.ndarray], path: Path) -> tuple[str, ...] | None:
    if "class_names" not in arrays:
        return None
    names = arrays["class_names"]
    if names.dtype.kind != "U" or names.ndim != 1 or not 0 < names.size <= MAX_CLASSES:
        raise ValueError(
            f"class_names of {path} has dtype {names.dtype} and shape {names.shape}; expected one text "
            "for each class: store them as strings, or leave them out."
        )
    return tuple(names.tolist())


def _num_codes(arrays: dict[str, np.ndarray], path: Path) -> int:
    if "num_levels" not in arrays:
        raise ValueError(f"{path} holds codes and no num_levels; expected it: store the codebook's size.")
    return stored_levels(arrays, path)


def _origin(arrays: dict[str, np.ndarray], path: Path) -> CodesOrigin | None:
    """What the file tells of the tokenizer; None where it tells nothing."""
    if not any(key in arrays for key in ORIGIN):
        return None
    try:
        tokenizer, digest, images = (str(arrays[key]) for key in ORIGIN)
        source = json.loads(images)
        if not isinstance(source, dict):
            raise TypeError(f"tokenizer_images is a {type(source).__name__}")
        grid, num_grids = (int(arrays.get(key, default)) for key, default in zip(GRID, (0, 1), strict=True))
        if not 0 <= grid < num_grids:
            raise ValueError(f"grid {grid} of {num_grids}")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} tells the tokenizer of its codes in a damaged way ({error}); expected "
            f"{', '.join(ORIGIN)}: encode the images again."
        ) from error
    return CodesOrigin(tokenizer, digest, source, grid, num_grids)
