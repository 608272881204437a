"""Images from a folder. Legend: N images, H height, W width, C channels."""

from pathlib import Path

import numpy as np

from .arrays import MAX_BYTES
from .folder_files import Found, find_files
from .holdout import hold_out
from .image_file import Picture, read_image
from .images import Images


def read_folder(folder: Path, image_size: tuple[int, int] | None = None) -> Images:
    """The images below a folder, grey (H, W, 1) if all of them are, else RGB (H, W, 3).

    They have 256 levels, or 65 536 if all have 16 bits. Without a part to test on, one tenth is held out.
    With `image_size=(H, W)` each image is cropped about its centre and resized.

    Raises:
        ValueError: for a folder without images, a file that is unreadable or no image, images of different
            sizes or bits, and more than 16 GiB of them.
    """
    train, test, names = find_files(folder)
    if not test:
        kept, held_out = hold_out(len(train), str(folder))
        train, test = [train[i] for i in kept], [train[i] for i in held_out]
    values, num_levels = read_pictures([item.path for item in (*train, *test)], image_size)
    return Images(
        folder.resolve().name,
        values[: len(train)],
        labels_of(train, names),
        values[len(train) :],
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
    pictures: list[Picture] = []
    num_bytes = 0
    for path in paths:
        picture = read_image(path, image_size)
        pictures.append(picture)
        _check_alike(picture, path, pictures[0], paths[0])
        num_bytes += picture.values.nbytes
        if num_bytes > MAX_BYTES:
            raise ValueError(
                f"{path} and the images before it take more than {MAX_BYTES / 2**30:.0f} GiB; expected "
                "fewer or smaller ones: pass image_size= to crop and resize them."
            )
    images = [values for values, _ in pictures]
    if any(image.ndim == 3 for image in images):
        images = [np.stack([image] * 3, -1) if image.ndim == 2 else image for image in images]
        return np.stack(images), pictures[0].num_levels
    return np.stack(images)[..., None], pictures[0].num_levels


def _check_alike(picture: Picture, path: Path, first: Picture, first_path: Path) -> None:
    here, there = picture.values.shape[:2], first.values.shape[:2]
    if here != there:
        raise ValueError(
            f"{path} is {here[0]}×{here[1]} where {first_path} is {there[0]}×{there[1]} (height×width); "
            "expected images of one size: pass image_size= to crop and resize them."
        )
    if picture.num_levels != first.num_levels:
        raise ValueError(
            f"{path} has {picture.num_levels} levels where {first_path} has {first.num_levels}; expected "
            "8 or 16 bits in all images: convert the one or the other."
        )
