"""What requests name and hold, checked."""

from typing import Any

import numpy as np
from fastapi import Request
from starlette.exceptions import HTTPException

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
        ValueError: for lists of unequal length, and what is no number.
    """
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError):
        array = np.asarray(None)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} is no array of numbers; expected lists of equal length.")
    return array


def optional_numbers(name: str, values: list[Any] | None) -> np.ndarray | None:
    return None if values is None else numbers(name, values)


def integers(name: str, values: list[Any]) -> np.ndarray:
    """The same of int32.

    Raises:
        ValueError: for numbers that are none.
    """
    array = numbers(name, values)
    if array.dtype.kind == "f" and (not np.isfinite(array).all() or (array != np.rint(array)).any()):
        raise ValueError(f"{name} holds numbers that are no integers.")
    if np.abs(array).max(initial=0) >= 2**31:
        raise ValueError(f"{name} holds numbers beyond 2^31.")
    return array.astype("int32")
