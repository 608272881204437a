"""What is wrong with a file, in one sentence that names it, whatever a library raised."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


class Refused(Exception):
    """What is wrong with a file that could be read: a sentence without its subject, the file."""


@contextlib.contextmanager
def file_named(path: Path | str, expected: str, remedy: str) -> Iterator[None]:
    """Any error inside becomes a ValueError of one sentence about `path`."""
    try:
        yield
    except Refused as refusal:
        raise ValueError(f"{path} {refusal}") from None
    except Exception as error:  # a damaged file may raise almost anything, from zlib.error to MemoryError
        raise ValueError(
            f"{path} could not be read ({_reason(error)}); expected {expected}: {remedy}."
        ) from error


def _reason(error: BaseException) -> str:
    """The message on one line, at most 200 characters; the kind of error where it has none."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:200]}…"
