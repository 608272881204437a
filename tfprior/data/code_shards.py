"""The files of a folder of codes.

codes.json            shape and kinds of the codes, examples in a shard, digest of the tokenizer's weights
codes-00000.npz       codes (N, h, w, G) of the first shard, and condition (N,) where the data have one
…
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import read_npz

DESCRIPTION = "codes.json"
FORMAT, VERSION = "tfprior.codes", 1


def shard_file(path: Path, index: int) -> Path:
    return path / f"codes-{index:05}.npz"


def read_shard(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a shard: values, source, and condition where there is one."""
    return read_npz(file, remedy="delete it and call encode_dataset again")


def read_description(path: Path) -> dict[str, Any] | None:
    """What codes.json says; None where there is none.

    Raises:
        ValueError: for a damaged or a newer one.
    """
    file = path / DESCRIPTION
    if not file.is_file():
        return None
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        known = description["format"] == FORMAT and isinstance(description["version"], int)
        if known and description["version"] <= VERSION:
            _check(description)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({error}); delete the folder and encode again.") from error
    if not known or description["version"] > VERSION:
        raise ValueError(
            f"{file} has format {description['format']!r} and version {description['version']!r}; this "
            f"tfprior reads {FORMAT!r} up to {VERSION}: upgrade it."
        )
    return description


def _check(description: dict[str, Any]) -> None:
    numbers = {name: description[name] for name in ("num_levels", "shard_size", "num_examples")}
    if numbers["num_examples"] is None:  # not finished yet
        del numbers["num_examples"]
    grid = description["grid_shape"]
    if not isinstance(grid, list) or len(grid) != 3:
        raise ValueError(f"grid_shape is {grid!r}")
    for name, number in [*numbers.items(), *(("grid_shape", side) for side in grid)]:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} has {number!r}")
