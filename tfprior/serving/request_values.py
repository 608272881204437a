"""What requests name and hold, checked."""

from typing import Any

import numpy as np
from fastapi import Request
from starlette.exceptions import HTTPException

from tfprior.export.encoder_description import PIXELS, EncoderDescription
from tfprior.serving import schemas
from tfprior.serving.answers import wanted
from tfprior.serving.guards import ASKED
from tfprior.serving.served import Served, Shelf
from tfprior.serving.settings import Settings


def served_as(name: str, shelf: Shelf) -> Served:
    """The bundle of that name, or 404."""
    try:
        return shelf[name]
    except KeyError:
        known = ", ".join(known for known, _ in shelf.items())
        raise HTTPException(404, f"No model is called {name}; expected one of {known}.") from None


def asked_of(shelf: Shelf, name: str, verb: str, request: Request) -> Served:
    """The bundle that a request asks something of, or 404 where it cannot do it."""
    served = served_as(name, shelf)
    if verb not in served.verbs:
        raise HTTPException(
            404, f"{name} cannot be asked to {verb}; expected one of {', '.join(served.verbs)}."
        )
    request.scope[ASKED] = name, verb
    return served


def accepted(request: Request, offered: tuple[str, ...]) -> str:
    """Which of the types offered the client accepts, or 406."""
    kind = wanted(request.headers.get("accept", "*/*"), offered)
    if kind is None:
        raise HTTPException(406, f"Accept allows none of {', '.join(offered)}.")
    return kind


def limit_of(asked: schemas.Asking, settings: Settings) -> float:
    """Seconds until the request is given up."""
    return min(asked.timeout or settings.timeout, settings.timeout)


def check_count(count: int, settings: Settings) -> None:
    """Raises ValueError for more images than a request may have."""
    if count > settings.max_samples:
        raise ValueError(f"Got {count} images; expected at most {settings.max_samples} in one request.")


def numbers(name: str, values: list[Any]) -> np.ndarray:
    """Nested lists as an array.

    Raises:
        ValueError: for lists of unequal length, and what is no finite number.
    """
    return _array(values, name, "iuf")


def _array(values: list[Any], name: str, kinds: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        array = np.asarray(None)
    if array.dtype.kind not in kinds:
        raise ValueError(f"{name} is no array of numbers; expected lists of equal length.")
    if not (np.abs(array) <= np.finfo("float32").max).all():  # NaN fails too
        raise ValueError(f"{name} holds NaN, or numbers that float32 does not; expected finite ones.")
    return array


def condition_of(values: list[Any] | None) -> np.ndarray | list[Any] | None:
    """Labels as they are told, some by their names; all else as an array.

    Raises:
        ValueError: as `numbers`.
    """
    if values is None or any(isinstance(label, str) for label in values):
        return values
    return numbers("condition", values)


def integers(name: str, values: list[Any]) -> np.ndarray:
    """The same of int32.

    Raises:
        ValueError: for numbers that are none.
    """
    array = numbers(name, values)
    if (array != np.rint(array)).any():
        raise ValueError(f"{name} holds numbers that are no integers.")
    if np.abs(array).max(initial=0) >= 2**31:
        raise ValueError(f"{name} holds numbers beyond 2^31.")
    return array.astype("int32")


def mask_of(values: list[Any]) -> np.ndarray:
    """True where a pixel is hidden, told by true and false or 1 and 0.

    Raises:
        ValueError: for anything else.
    """
    array = _array(values, "mask", "biuf")
    if not np.isin(array, (0, 1)).all():
        raise ValueError("mask holds other numbers than 0 and 1; expected 1 where a pixel is hidden.")
    return array.astype(bool)


def pixels_of(images: list[Any], encoder: EncoderDescription) -> np.ndarray:
    """Images for an encoder: whole numbers alone are levels from 0 to 255, all others what it takes.

    Raises:
        ValueError: for levels and pixels out of range.
    """
    array = numbers("images", images)
    expected = f"expected whole numbers from 0 to 255, or {encoder.input}"
    if array.dtype.kind in "iu":
        if array.min() < 0 or array.max() > 255:
            raise ValueError(f"images lie in [{array.min()}, {array.max()}]; {expected}.")
        return array.astype("uint8")
    if encoder.input == PIXELS and (array.min() < 0 or array.max() > 1):
        raise ValueError(f"images lie in [{array.min():g}, {array.max():g}]; {expected}.")
    return array.astype("float32")
