"""The image files of a folder, their parts and their classes.

pets/train/cat/1.png     train/ or training/
pets/val/cat/2.png       val/, valid/ or validation/: for testing, or for training where there is test/ too
pets/test/cat/3.png      test/ or testing/

Without train/ all images are one part, which is split later. Subfolders of a part are classes. Left out are
hidden files and folders, whose names begin with a dot, and texts and tables; any other file that is no image
is an error.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from .image_file import SUFFIXES

PARTS = {
    "train": "train", "training": "train",
    "test": "test", "testing": "test",
    "val": "val", "valid": "val", "validation": "val",
}  # fmt: skip
TEXTS = (".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".log")
COMPANIONS = ("thumbs.db", "desktop.ini", "readme", "license", "licence")


class Found(NamedTuple):
    """An image file and the class subfolder it lies in, if any."""

    path: Path
    class_name: str | None


class Files(NamedTuple):
    """The image files of both parts, of which `test` may be empty, and the names of their classes."""

    train: list[Found]
    test: list[Found]
    class_names: tuple[str, ...] | None


def find_files(folder: Path) -> Files:
    """The image files below a folder, in the same order on every machine.

    Raises:
        ValueError: for a folder without images, files that are neither images nor texts, images outside of
            the parts or of the classes, and test/ or val/ without train/.
    """
    parts = _parts(folder)
    if not parts:
        found = _find(folder, folder)
        return Files(found, [], _class_names(found, folder))
    _check_nothing_outside(folder, list(parts.values()))
    train = _find(folder / parts["train"], folder)
    names = _class_names(train, folder)
    validation = _find(folder / parts["val"], folder) if "val" in parts else []
    test = _find(folder / parts["test"], folder) if "test" in parts else []
    _check_classes([*validation, *test], names)
    return Files([*train, *validation], test, names) if test else Files(train, validation, names)


def _parts(folder: Path) -> dict[str, str]:
    """The subfolder of each part that there is, empty where none is."""
    parts: dict[str, str] = {}
    for name in sorted(os.listdir(folder)):
        part = PARTS.get(name.lower())
        if part is None or not (folder / name).is_dir():
            continue
        if part in parts:
            raise ValueError(
                f"{folder} has both {parts[part]}/ and {name}/; expected one of them: join or rename them."
            )
        parts[part] = name
    if parts and "train" not in parts:
        name = next(iter(parts.values()))
        raise ValueError(f"{folder} has {name}/ but no train/; expected both or neither: add train/.")
    return parts


def _check_nothing_outside(folder: Path, parts: list[str]) -> None:
    for path in _walk(folder):
        if path.relative_to(folder).parts[0] not in parts:
            raise ValueError(
                f"{path} is outside of {', '.join(f'{part}/' for part in parts)}; expected all images inside "
                f"of them: move it, or take it out of {folder}."
            )


def _find(part: Path, folder: Path) -> list[Found]:
    found = []
    for path in _walk(part):
        parts = path.relative_to(part).parts
        found.append(Found(path, parts[0] if len(parts) > 1 else None))
    if not found:
        raise ValueError(
            f"{part} holds no images; expected files that end in {', '.join(SUFFIXES)}: add some."
        )
    return sorted(found, key=lambda item: item.path.relative_to(folder).as_posix())


def _walk(folder: Path) -> Iterator[Path]:
    """Every image file below a folder, also through links."""

    def stop(error: OSError) -> None:
        raise ValueError(
            f"{error.filename} could not be opened ({error.strerror}); expected a folder to read: change its "
            "permissions, or take it out."
        ) from error

    for root, folders, files in os.walk(folder, onerror=stop, followlinks=True):
        folders[:] = [name for name in folders if not _is_hidden(name)]
        for name in folders:
            inner = Path(root, name)
            if inner.is_symlink() and Path(root).resolve().is_relative_to(inner.resolve()):
                raise ValueError(f"{inner} links to a folder it lies in; expected an end: remove the link.")
        for name in files:
            path = Path(root, name)
            if _is_hidden(name) or name.lower() in COMPANIONS or name.lower().endswith(TEXTS):
                continue
            if path.suffix.lower() not in SUFFIXES or not path.is_file():
                raise ValueError(
                    f"{path} is no image file that is read; expected names that end in {', '.join(SUFFIXES)}"
                    ": convert it, or take it out."
                )
            yield path


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


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


def _check_classes(found: list[Found], names: tuple[str, ...] | None) -> None:
    for path, class_name in found:
        if names is None and class_name is not None:
            raise ValueError(
                f"{path} is in a class and the train images are in none; expected classes in both or "
                "neither: move the images."
            )
        if names is not None and class_name not in names:
            raise ValueError(
                f"{path} is in no class of the train images; expected a subfolder {', '.join(names)}: "
                "move it, or add train images of its class."
            )
