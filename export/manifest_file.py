"""manifest.json on disk: written with a digest of itself, read back with every field checked."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from tfprior.atomic import write_text
from tfprior.export.checks import BundleError
from tfprior.export.contract import check_functions
from tfprior.export.manifest import FileDescription, Manifest
from tfprior.export.older_manifests import told_as_today
from tfprior.export.strict_json import parse, plain, read

FORMAT = "tfprior.bundle"
SCHEMA_VERSION = 6
READABLE = range(2, SCHEMA_VERSION + 1)
"""Those of before are told as today's by `older_manifests`."""
FILE_NAME = "manifest.json"
LARGEST_MANIFEST = 2**28
"""Bytes."""

ZEROS = "0" * 64
_DIGEST = re.compile(rb'("manifest_sha256": ")[0-9a-f]{64}"')
_ENVELOPE = ("format", "schema_version", "manifest_sha256")


def load_manifest(path: str | Path) -> Manifest:
    """Reads and checks the manifest of the bundle at `path`; its files are checked by `checked_file`.

    Raises:
        BundleError: for a manifest that is missing, changed, of another version, or contradicts itself.
    """
    file = Path(path) / FILE_NAME
    if not file.is_file():
        raise BundleError(
            f"{path} is no bundle: it has no {FILE_NAME}; expected a folder made by export.save."
        )
    try:
        if file.stat().st_size > LARGEST_MANIFEST:
            raise ValueError(f"it has over {LARGEST_MANIFEST} bytes")
        content = file.read_bytes()
        parsed = parse(content.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{file} is unreadable ({_sentence(error)}); copy or export it again.") from error
    _check_envelope(file, content, parsed)
    try:
        fields = {name: value for name, value in parsed.items() if name not in _ENVELOPE}
        return from_plain(told_as_today(fields, parsed["schema_version"]))
    except ValueError as error:
        raise BundleError(
            f"{file} is no valid manifest: {_sentence(error)}; copy or export the bundle again."
        ) from error


def from_plain(value: Any) -> Manifest:
    """The manifest from parsed JSON without its envelope.

    Raises:
        ValueError: for fields that are missing, unknown, of another type, or contradict each other.
    """
    manifest: Manifest = read(Manifest, value, "")
    check_functions(manifest)
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes the manifest of the bundle at `path`.

    Raises:
        BundleError: for a manifest whose functions contradict its priors and images.
    """
    check_functions(manifest)
    write_text(path / FILE_NAME, sealed(plain(manifest)))


def sealed(fields: dict[str, Any]) -> str:
    """The text of manifest.json: the fields after format, version and digest, where they have none."""
    envelope = {"format": FORMAT, "schema_version": SCHEMA_VERSION, "manifest_sha256": ZEROS}
    text = json.dumps({**envelope, **fields, "manifest_sha256": ZEROS}, indent=1, allow_nan=False)
    return text.replace(ZEROS, manifest_digest(text.encode()), 1)


def manifest_digest(content: bytes) -> str:
    """SHA-256 of manifest.json, its own 64 digits taken as zeros."""
    return hashlib.sha256(_DIGEST.sub(rb"\g<1>" + ZEROS.encode() + b'"', content, count=1)).hexdigest()


def _check_envelope(file: Path, content: bytes, parsed: Any) -> None:
    if not isinstance(parsed, dict) or parsed.get("format") != FORMAT:
        raise BundleError(f"{file} is not the manifest of a {FORMAT}; expected a folder made by export.save.")
    version = parsed.get("schema_version")
    if type(version) is not int or version not in READABLE:
        is_newer = type(version) is int and version > SCHEMA_VERSION
        remedy = "upgrade tfprior" if is_newer else "export the bundle again"
        shown = version if type(version) is int and abs(version) < 10**6 else "unknown"
        raise BundleError(
            f"{file} has schema version {shown} and this tfprior reads {READABLE[0]} to {READABLE[-1]}: "
            f"{remedy}."
        )
    if parsed.get("manifest_sha256") != manifest_digest(content):
        raise BundleError(f"{file} does not have its own SHA-256: it was changed; copy the bundle again.")


def _sentence(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


def checked_file(path: str | Path, manifest: Manifest, name: str) -> Path:
    """The file `name` of the bundle, once its size and SHA-256 are the manifest's.

    Raises:
        BundleError: for a file that is not listed, missing, no regular file, or changed.
    """
    entry = next((entry for entry in manifest.files if entry.path == name), None)
    if entry is None:
        raise BundleError(f"The bundle {path} holds no {name}; export it again with the format you need.")
    file, root = Path(path) / name, Path(path).resolve()
    if not file.is_file() or file.resolve() != root / name:  # a link on the way leads elsewhere
        raise BundleError(f"{file} is missing or no regular file; copy the whole bundle again.")
    size = file.stat().st_size
    if size != entry.bytes:
        raise BundleError(
            f"{file} has {size} bytes and the manifest says {entry.bytes}: it is truncated or changed; "
            "copy the bundle again."
        )
    try:
        found = digest(file)
    except OSError as error:
        raise BundleError(f"{file} is unreadable ({_sentence(error)}); copy the bundle again.") from error
    if found != entry.sha256:
        raise BundleError(f"{file} does not have the SHA-256 of the manifest: it was changed; copy it again.")
    return file


def checked_files(path: str | Path, manifest: Manifest, folder: str) -> Path:
    """The `folder` of the bundle, once every file the manifest lists below it is checked."""
    names = [entry.path for entry in manifest.files if entry.path.startswith(f"{folder}/")]
    if not names:
        raise BundleError(f"The bundle {path} holds no {folder}; export it again with the format you need.")
    for name in names:
        checked_file(path, manifest, name)
    return Path(path) / folder


def describe_files(root: Path) -> tuple[FileDescription, ...]:
    """path, bytes and sha256 of every file below `root`, in order of path."""
    files = sorted(file for file in root.rglob("*") if file.is_file())
    return tuple(
        FileDescription(file.relative_to(root).as_posix(), file.stat().st_size, digest(file))
        for file in files
    )


def digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
