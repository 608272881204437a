"""Images from a folder: train/ and test/ if present, subfolders as classes."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .holdout import hold_out
from .images import Images

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
DEEP_MODES = ("I", "F")  # and "I;16", …: more than 8 bits, which Pillow would clip to 255


class Found(NamedTuple):
    """An image file and the class subfolder it lies in, if any."""

    path: Path
    class_name: str | None


def read_folder(
    folder: Path, image_size: tuple[int, int] | None = None, num_levels: int | None = None
) -> Images:
    """The 8-bit images below a folder, grey (H, W, 1) if all of them are, else RGB (H, W, 3); 256 levels.

    Without a `train/` subfolder, or without a `test/` beside it, one tenth of the images is held out. With
    `image_size=(H, W)` each image is cropped about its centre and resized.

    Raises:
        ValueError: for a folder without images, an unreadable file, or images of different sizes.
    """
    train, test, names = _find_splits(folder)
    images = _stack([_read(item.path, image_size) for item in (*train, *test)], [*train, *test])
    return Images(
        folder.resolve().name,
        images[: len(train)],
        _labels(train, names),
        images[len(train) :],
        _labels(test, names),
        num_levels or 256,
        names,
    )


def _find_splits(folder: Path) -> tuple[list[Found], list[Found], tuple[str, ...] | None]:
    """The files of both splits and the names of their classes."""
    train, test = folder / "train", folder / "test"
    if test.is_dir() and not train.is_dir():
        raise ValueError(f"{folder} has test/ but no train/; expected both or neither: add train/.")
    found = _find(train if train.is_dir() else folder)
    names = _class_names(found, folder)
    if test.is_dir():
        return found, _find(test), names
    kept, held_out = hold_out(len(found), str(folder))
    return [found[i] for i in kept], [found[i] for i in held_out], names


def _find(folder: Path) -> list[Found]:
    """The image files below a folder, sorted so that every machine sees the same order."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.suffix.lower() in SUFFIXES and path.is_file() and not any(p.startswith(".") for p in parts):
            found.append(Found(path, parts[0] if len(parts) > 1 else None))
    if not found:
        raise ValueError(
            f"{folder} holds no images; expected files that end in {', '.join(SUFFIXES)}: add some."
        )
    return sorted(found, key=lambda item: item.path.relative_to(folder).as_posix())


def _class_names(found: list[Found], folder: Path) -> tuple[str, ...] | None:
    names = {item.class_name for item in found}
    if names == {None}:
        return None
    if None in names:
        stray = next(item.path for item in found if item.class_name is None)
        raise ValueError(
            f"{folder} has images in class subfolders and outside of them ({stray.name}); expected one or "
            "the other: move the image into a class."
        )
    return tuple(sorted(name for name in names if name is not None))


def _labels(found: list[Found], names: tuple[str, ...] | None) -> np.ndarray | None:
    if names is None:
        return None
    for path, class_name in found:
        if class_name not in names:
            raise ValueError(
                f"{path} is in no class of the train images; expected a subfolder {', '.join(names)}: "
                "move it, or add train images of its class."
            )
    return np.array([names.index(class_name) for _, class_name in found if class_name is not None])


def _read(path: Path, image_size: tuple[int, int] | None) -> np.ndarray:
    """One image as (H, W) if it is grey, else (H, W, 3)."""
    from PIL import Image, ImageOps

    try:
        # Pillow warns of odd metadata and of large images; what matters it raises.
        with warnings.catch_warnings(action="ignore"), Image.open(path) as source:
            source.load()
            mode, image = source.mode, _to_8_bit(ImageOps.exif_transpose(source))
    except Exception as error:  # a damaged file may raise almost anything, from SyntaxError to struct.error
        raise ValueError(
            f"{path} could not be read ({error}); expected a complete image file: replace or remove it."
        ) from error
    if image is None:
        raise ValueError(
            f"{path} has pixels of mode {mode}; expected 8-bit grey or colour: convert the image."
        )
    if image_size is not None:
        image = _crop_and_resize(image, *image_size)
    return np.asarray(image, dtype=np.uint8)


def _to_8_bit(image: "Image.Image") -> "Image.Image | None":
    if image.mode.startswith(DEEP_MODES):
        return None
    if image.mode in ("L", "1"):
        return image.convert("L")
    return image.convert("RGBA" if image.mode == "P" else "RGB").convert("RGB")


def _crop_and_resize(image: "Image.Image", height: int, width: int) -> "Image.Image":
    """The largest centred part of the wanted proportions, resized; nothing outside of it bleeds in."""
    scale = min(image.width / width, image.height / height)
    crop_width, crop_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    return image.crop((left, top, left + crop_width, top + crop_height)).resize((width, height))


def _stack(images: list[np.ndarray], found: list[Found]) -> np.ndarray:
    """Images of one size as (N, H, W, C), grey ones repeated to RGB where others have colour."""
    for image, item in zip(images, found, strict=True):
        if image.shape[:2] != images[0].shape[:2]:
            first, other = ("×".join(map(str, array.shape[:2])) for array in (images[0], image))
            raise ValueError(
                f"{item.path} is {other} where {found[0].path} is {first} (height×width); expected images of "
                "one size: pass image_size= to crop and resize them."
            )
    if all(image.ndim == 2 for image in images):
        return np.stack(images)[..., None]
    return np.stack([np.stack([image] * 3, -1) if image.ndim == 2 else image for image in images])
