"""Requirements of a manifest's fields, and the one error that speaks of bundles."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np

from tfprior.export.strict_json import IntRange

LARGEST_TENSOR = 2**28
"""Numbers of one example in a tensor; nothing larger is allocated because a manifest says so."""

Size = Annotated[int, IntRange(1, 2**31 - 1)]
Count = Annotated[int, IntRange(0, 2**53)]
Layers = Annotated[int, IntRange(1, 4096)]
"""Each has ports of its own, which are named one by one."""


class BundleError(ValueError):
    """A bundle that is missing, damaged, or not of a kind this version reads."""


@contextmanager
def as_bundle_error(what: str) -> Iterator[None]:
    """Says `what` failed where a runtime raises anything at all; their errors have no class in common."""
    try:
        yield
    except Exception as error:
        first_line = str(error).strip().partition("\n")[0]
        raise BundleError(f"{what} ({type(error).__name__}: {first_line}).") from error


def require(holds: Any, sentence: str) -> None:
    if not holds:
        raise BundleError(sentence)


def check_class_names(name: str, names: tuple[str, ...] | None, num_classes: int | None) -> None:
    require(
        names is None or len(names) == num_classes,
        f"{name} are {len(names or ())}; expected null, or one for each of {num_classes or 0} classes.",
    )


def check_tensor(name: str, sizes: tuple[int, ...]) -> None:
    require(
        math.prod(sizes) <= LARGEST_TENSOR,
        f"{name} has the shape {sizes}; expected at most {LARGEST_TENSOR} numbers for one example.",
    )


def check_array(name: str, array: np.ndarray | None, shape: tuple[int, ...], num_levels: int = 0) -> None:
    found = None if array is None else array.shape
    require(found == shape, f"{name} has the shape {found}; expected {shape}.")
    if array is not None and num_levels:
        low, high = array.min(), array.max()
        within = low >= 0 and high < num_levels
        require(within, f"{name} lies in [{low}, {high}]; expected [0, {num_levels - 1}].")
