"""Integers to bits and back by a range coder, at the price of their probabilities.

A level has a whole number of parts of 2⁻²⁴, one at the least: what has no probability at all is still
encodable, for 24 bits. These parts are taken from all others, log2(1 / (1 − 2⁻²⁴ L)) bits a value: 0.00002 of
256 levels, 0.006 of the 65 536 that are the most.

Shapes: N values · L levels.
"""

from typing import Any, Protocol

import numpy as np

MOST_LEVELS = 2**16
LEAST_PROBABILITY = 2.0**-24
SLACK = 64
"""Bits by which an encoder's last words may fall short of what they hold."""


class UndecodableError(ValueError):
    """Data that no encoder wrote with these probabilities."""


class Coder(Protocol):
    """Either side: what it encodes it gives back, and what it decodes comes from its data."""

    def __call__(self, probabilities: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        """Probabilities (N, L), on the encoding side values (N,) → values (N,) int32."""
        ...


class Encoder:
    """Appends values to a stream of bits.

    Raises:
        ModuleNotFoundError: without the package constriction.
        ValueError: for probabilities that are none.
    """

    def __init__(self) -> None:
        queue, self._family = _constriction()
        self._range = queue.RangeEncoder()

    def __call__(self, probabilities: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        assert values is not None
        values = np.ascontiguousarray(values, "int32")
        self._range.encode(values, self._family, _checked(probabilities))
        return values

    def data(self) -> bytes:
        """All that was encoded, in words of four bytes."""
        return bytes(self._range.get_compressed().astype("<u4").tobytes())


class Decoder:
    """Reads values from a stream of bits, given the probabilities that they were encoded with.

    Raises:
        ModuleNotFoundError: without the package constriction.
        ValueError: for probabilities that are none.
        UndecodableError: for data that no encoder wrote with these probabilities.
    """

    def __init__(self, data: bytes) -> None:
        queue, self._family = _constriction()
        self._bits_left = 8.0 * len(data) + SLACK
        self._range = queue.RangeDecoder(np.frombuffer(data, "<u4").astype("uint32"))

    def __call__(self, probabilities: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
        try:
            values = np.asarray(self._range.decode(self._family, _checked(probabilities)))
        except AssertionError as error:  # how constriction says so
            raise UndecodableError(str(error)) from error
        # At the end of its data a range decoder goes on, and gives values that nobody encoded.
        of_values = probabilities[np.arange(len(values)), values] + 2 * LEAST_PROBABILITY
        self._bits_left += float(np.log2(np.minimum(of_values, 1.0), dtype="float64").sum())
        if self._bits_left < 0:
            raise UndecodableError("The data are used up before the values that they are said to hold.")
        return values

    def is_exhausted(self) -> bool:
        """False where data are certainly left."""
        return bool(self._range.maybe_exhausted())


def _constriction() -> tuple[Any, Any]:
    """The range coder, and its distributions by a table of probabilities."""
    try:
        import constriction
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Compression needs the package constriction: pip install 'tfprior[compress]'.", name=error.name
        ) from error
    # `perfect` tables saved no word of 284 when measured, and took 350 times as long.
    return constriction.stream.queue, constriction.stream.model.Categorical(perfect=False)


def _checked(probabilities: np.ndarray) -> np.ndarray:
    """As float64: a sum rounded to float32 may leave the last level nothing."""
    if not np.isfinite(probabilities).all():
        raise ValueError("The model gives NaN for probabilities, so its training diverged.")
    return np.ascontiguousarray(probabilities, "float64")
