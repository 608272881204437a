"""The size that the images of a folder are brought to: 32, (32, 48), or 32x48 as text."""

import re
from typing import Any

from tfprior.inputs import is_integer

MAX_PIXELS = 2**27  # 134 million, of one image: those of large cameras, not those that fill memory


def parse_image_size(text: str) -> int | tuple[int, int]:
    """ "32" → 32, "32x48" → (32, 48), height first.

    Raises:
        ValueError: for other text, and sides that are not positive.
    """
    found = re.fullmatch(r"\s*([0-9]{1,9})\s*(?:[xX×]\s*([0-9]{1,9})\s*)?", text)
    if found is None:
        raise ValueError(f"{text!r} is not a size; expected a side or HEIGHTxWIDTH: for example 32 or 32x48.")
    sides = tuple(int(side) for side in found.groups() if side is not None)
    height, width = check_image_size(sides if len(sides) == 2 else sides[0])
    return (height, width) if len(sides) == 2 else height


def check_image_size(image_size: Any, name: str = "image_size") -> tuple[int, int]:
    """(height, width) of an integer or a pair of them, or ValueError."""
    size = image_size if isinstance(image_size, tuple | list) else (image_size, image_size)
    if len(size) != 2 or not all(_is_side(side) for side in size):
        raise ValueError(
            f"{name}={image_size!r} is not a size; expected a positive integer or (height, width): "
            "for example 32 or (32, 48)."
        )
    if int(size[0]) * int(size[1]) > MAX_PIXELS:
        raise ValueError(
            f"{name}={image_size!r} has more than {MAX_PIXELS:,} pixels; expected a size to train on: "
            "for example 32 or (32, 48)."
        )
    return int(size[0]), int(size[1])


def _is_side(side: Any) -> bool:
    return is_integer(side) and bool(side > 0)
