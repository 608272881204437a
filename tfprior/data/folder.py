"""Images from a folder. Legend: N images, H height, W width, C channels."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import MAX_BYTES
from .decoding import check_alike, decoded, stacked
from .folder_cache import cached_pictures
from .folder_files import Found, find_files
from .holdout import hold_out
from .image_file import decode, read_image
from .images import Images
from .stored import selected

AT_ONCE = 1024


def read_folder(folder: Path, image_size: tuple[int, int] | None = None, cache: Path | None = None) -> Images:
    """The images below a folder, grey (H, W, 1) if all of them are, else RGB (H, W, 3).

    They have 256 levels, or 65 536 if all have 16 bits. Without a part to test on, one tenth is held out.
    With `image_size=(H, W)` each image is cropped about its centre and resized. With a `cache` they are
    decoded into files there, once, and read from them whenever they are asked for.

    Raises:
        ValueError: for a folder without images, a file that is unreadable or no image, images of different
            sizes or bits, and more than 16 GiB of them.
    """
    train, test, names = find_files(folder)
    if not test:
        kept, held_out = hold_out(len(train), str(folder))
        train, test = [train[i] for i in kept], [train[i] for i in held_out]
    paths = [item.path for item in (*train, *test)]
    values: Any
    if cache is None:
        values, num_levels = read_pictures(paths, image_size)
    else:
        values, num_levels = cached_pictures(paths, folder, image_size, cache)
    places = np.arange(len(paths))
    return Images(
        folder.resolve().name,
        selected(values, places[: len(train)]),
        labels_of(train, names),
        selected(values, places[len(train) :]),
        labels_of(test, names),
        num_levels,
        names,
    )


def labels_of(found: list[Found], names: tuple[str, ...] | None) -> np.ndarray | None:
    """The numbers of the classes that the files lie in (N,)."""
    if names is None:
        return None
    numbers = {name: number for number, name in enumerate(names)}
    return np.array([numbers[class_name] for _, class_name in found if class_name is not None])


def read_pictures(paths: list[Path], image_size: tuple[int, int] | None) -> tuple[np.ndarray, int]:
    """Images of one size as (N, H, W, C), grey ones as RGB where others have colour, and how many levels."""
    first = read_image(paths[0], image_size)
    images: list[np.ndarray] = []
    num_bytes = 0
    for start in range(0, len(paths), AT_ONCE):
        some = paths[start : start + AT_ONCE]
        pictures = decoded(some, partial(decode, image_size=image_size))
        check_alike(pictures, some, first, paths[0])
        images += [picture.values for picture in pictures]
        num_bytes += sum(picture.values.nbytes for picture in pictures)
        if num_bytes > MAX_BYTES:
            raise ValueError(
                f"{some[-1]} and the images before it take more than {MAX_BYTES / 2**30:.0f} GiB; expected "
                "fewer or smaller ones: pass image_size= to crop and resize them, or cache= to keep them in "
                "files."
            )
    values = stacked(images)
    return values if values.ndim == 4 else values[..., None], first.num_levels
