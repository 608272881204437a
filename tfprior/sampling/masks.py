"""Which part of an image is hidden, told in a word or drawn in a picture."""

from pathlib import Path

import numpy as np

PARTS = ("left", "right", "top", "bottom", "centre", "random")


def hidden_part(mask: str, grid_shape: tuple[int, int, int]) -> np.ndarray:
    """(H, W), True where hidden: left, right, top, bottom or random hides half, centre half of each side.

    Random pixels are the same ones in every image and every call.

    Anything else is the path of a PNG of H × W pixels, which is bright where the image is hidden.

    Raises:
        FileNotFoundError: for a picture that is missing.
        ValueError: for another word, and a picture of another size or that hides nothing.
    """
    height, width, _ = grid_shape
    rows, columns = np.arange(height)[:, None], np.arange(width)[None]
    if mask not in PARTS:
        return drawn_mask(Path(mask), height, width)
    hidden = {
        "left": columns < width // 2,
        "right": columns >= (width + 1) // 2,
        "top": rows < height // 2,
        "bottom": rows >= (height + 1) // 2,
        "centre": inner(rows, height) & inner(columns, width),
        "random": np.random.default_rng(0).permutation(height * width).reshape(height, width) % 2 > 0,
    }
    return np.broadcast_to(hidden[mask], (height, width))


def inner(places: np.ndarray, size: int) -> np.ndarray:
    """True in the middle half."""
    margin = size // 4
    return (places >= margin) & (places < size - margin)


def drawn_mask(path: Path, height: int, width: int) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    if path.suffix.lower() != ".png":
        raise ValueError(f"mask={str(path)!r}; expected one of {', '.join(PARTS)}, or a picture FILE.png.")
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.size != (width, height):
                raise ValueError(
                    f"{path} is {picture.height} × {picture.width} pixels; expected {height} × {width}, the "
                    "size of the images."
                )
            hidden = np.asarray(picture.convert("L")) >= 128
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is no PNG; expected a picture, bright where images are hidden.") from error
    if not hidden.any():
        raise ValueError(f"{path} is dark everywhere; expected bright pixels where images are hidden.")
    return hidden
