"""How somebody changes a bundle who knows the format: hashes and digests are right again."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from tfprior.export.manifest_file import sealed


def edit_manifest(bundle: Path, edit: Callable[[dict], object]) -> None:
    """Edits the parsed manifest and seals it again."""
    file = bundle / "manifest.json"
    fields = json.loads(file.read_text())
    edit(fields)
    file.write_text(sealed(fields))


def replace_file(bundle: Path, name: str, content: bytes) -> None:
    """Writes another file in the place of one that the manifest lists."""

    def describe(fields: dict) -> None:
        (entry,) = (entry for entry in fields["files"] if entry["path"] == name)
        entry.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())

    (bundle / name).write_bytes(content)
    edit_manifest(bundle, describe)
