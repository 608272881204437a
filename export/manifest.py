"""The bundle's manifest: what it holds, checked before anything is opened. Standard library only."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

FORMAT = "tfprior.bundle"
SCHEMA_VERSION = 1
FILE_NAME = "manifest.json"
MODELS = ("GatedPixelCNN", "Generator", "PixelCNN", "PixelCNNPP")


def _is_size(value: Any) -> bool:
    return isinstance(value, int) and value > 0


def _is_condition(value: Any) -> bool:
    if value is None:
        return True
    if value["kind"] == "label":
        return _is_size(value["num_classes"])
    return value["kind"] in ("vector", "map") and all(map(_is_size, value["shape"]))


def _is_port(value: Any) -> bool:
    first, *sizes = value["shape"]
    named = isinstance(value["name"], str) and value["dtype"] in ("float32", "int32")
    return named and first == "batch" and all(map(_is_size, sizes))


def _is_function(value: Any) -> bool:
    return all(_is_port(port) for port in (*value["inputs"], *value["outputs"]))


def _is_golden(value: Any) -> bool:
    return all(isinstance(value[name], list) for name in ("uniforms", "values", "log_prob"))


def _is_images(value: Any) -> bool:
    if value is None:
        return True
    golden = value["golden"]
    lists = (golden[name] for name in ("expected", "images", "codes", "log_prob_bound"))
    sizes = (*value["shape"], value["num_levels"])
    return len(sizes) == 4 and all(map(_is_size, sizes)) and all(isinstance(part, list) for part in lists)


# What the readers of a bundle rely on.
_FIELDS: dict[str, Callable[[Any], bool]] = {
    "model": lambda value: isinstance(value["class"], str),
    "priors": lambda value: isinstance(value, list) and bool(value),
    "images": _is_images,
    "functions": lambda value: bool(value) and all(map(_is_function, value.values())),
    "files": lambda value: isinstance(value, list) and bool(value),
    "versions": lambda value: isinstance(value, dict),
}
_PRIOR_FIELDS: dict[str, Callable[[Any], bool]] = {
    "prefix": lambda value: isinstance(value, str),
    "grid_shape": lambda value: len(value) == 3 and all(map(_is_size, value)),
    "num_levels": _is_size,
    "num_steps": _is_size,
    "condition": _is_condition,
    "noise": lambda value: _is_size(value["per_step"]),
    "golden": _is_golden,
}


def _holds(is_valid: Callable[[Any], bool], value: Any) -> bool:
    try:
        return is_valid(value)
    except (KeyError, TypeError, ValueError, AttributeError):
        return False


class BundleError(ValueError):
    """A bundle that is missing, damaged, or not of a kind this version reads."""


def load_manifest(path: str | Path) -> dict[str, Any]:
    """Reads and checks the manifest of the bundle at `path`; its files are checked by `checked_file`.

    Raises:
        BundleError: for a missing, unreadable or newer manifest, or one with fields missing.
    """
    file = Path(path) / FILE_NAME
    if not file.is_file():
        raise BundleError(
            f"{path} is no bundle: it has no {FILE_NAME}; expected a folder made by export.save."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is unreadable ({error}); export the bundle again.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f"{file} is not the manifest of a {FORMAT}; expected a folder made by export.save.")
    version = manifest.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION or version < 1:
        raise BundleError(
            f"{file} has schema version {version!r} and this tfprior reads up to {SCHEMA_VERSION}: "
            "upgrade tfprior, or export the bundle with this version."
        )
    _check_fields(file, manifest, _FIELDS, "")
    for index, prior in enumerate(manifest["priors"]):
        _check_fields(file, prior, _PRIOR_FIELDS, f"priors[{index}].")
        made_by = (prior["condition"] or {}).get("function")
        if (made_by is None) != (index == 0) or (index and made_by not in manifest["functions"]):
            raise BundleError(f"{file} lacks the function of priors[{index}].condition; export it again.")
    if manifest["model"].get("class") not in MODELS:
        raise BundleError(
            f"{file} names the model {manifest['model'].get('class')!r}; expected one of {', '.join(MODELS)}."
        )
    for entry in manifest["files"]:
        _check_entry(file, entry)
    return manifest


def _check_fields(file: Path, value: Any, fields: dict[str, Callable[[Any], bool]], where: str) -> None:
    for name, is_valid in fields.items():
        if not isinstance(value, dict) or name not in value or not _holds(is_valid, value[name]):
            raise BundleError(f"{file} lacks a valid field {where + name!r}; export the bundle again.")


def _check_entry(file: Path, entry: Any) -> None:
    fields = {"path": str, "bytes": int, "sha256": str}
    if not isinstance(entry, dict) or not all(isinstance(entry.get(n), k) for n, k in fields.items()):
        raise BundleError(f"{file} lists a file without path, bytes and sha256; export the bundle again.")
    relative = PurePosixPath(entry["path"])
    if relative.is_absolute() or ".." in relative.parts or "\\" in entry["path"]:
        raise BundleError(f"{file} lists {entry['path']!r}, which lies outside the bundle; do not use it.")


def checked_file(path: str | Path, manifest: dict[str, Any], name: str) -> Path:
    """The file `name` of the bundle, once its size and SHA-256 are the manifest's.

    Raises:
        BundleError: for a file that is not listed, missing, no regular file, or changed.
    """
    entry = next((entry for entry in manifest["files"] if entry["path"] == name), None)
    if entry is None:
        raise BundleError(f"The bundle {path} holds no {name}; export it again with the format you need.")
    file, root = Path(path) / name, Path(path).resolve()
    if not file.is_file() or file.resolve() != root / name:  # a link on the way leads elsewhere
        raise BundleError(f"{file} is missing or no regular file; copy the whole bundle again.")
    size = file.stat().st_size
    if size != entry["bytes"]:
        raise BundleError(
            f"{file} has {size} bytes and the manifest says {entry['bytes']}: it is truncated or changed; "
            "copy the bundle again."
        )
    if digest(file) != entry["sha256"]:
        raise BundleError(f"{file} does not have the SHA-256 of the manifest: it was changed; copy it again.")
    return file


def checked_files(path: str | Path, manifest: dict[str, Any], folder: str) -> Path:
    """The `folder` of the bundle, once every file the manifest lists below it is checked."""
    names = [entry["path"] for entry in manifest["files"] if entry["path"].startswith(f"{folder}/")]
    if not names:
        raise BundleError(f"The bundle {path} holds no {folder}; export it again with the format you need.")
    for name in names:
        checked_file(path, manifest, name)
    return Path(path) / folder


def describe_files(root: Path) -> list[dict[str, Any]]:
    """path, bytes and sha256 of every file below `root`, in order of path."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return [
        {
            "path": file.relative_to(root).as_posix(),
            "bytes": file.stat().st_size,
            "sha256": digest(file),
        }
        for file in files
    ]


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
