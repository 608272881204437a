"""What a run's files are known by: checkpoint.json, with the SHA-256 of each.

The file is written before those it tells of are moved into place, and tells of those they replace too: killed
at any moment, a run is left with files that it knows. Of each file the versions are listed, oldest first, at
most two.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tfprior.atomic import atomic_path, write_text

CHECKPOINT = "checkpoint.json"
REMEDY = "restore it from a copy, or train again with --overwrite"


@dataclass(frozen=True)
class Version:
    """A file as it was after an epoch."""

    sha256: str
    epoch: int


@dataclass(frozen=True)
class Start:
    """Where the training that is under way began: nowhere, or where a finished run was taken up again.

    Attributes:
        epochs: that were done.
        seconds: that they took.
    """

    epochs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Checkpoint:
    """The versions of each file by name, and where training began."""

    start: Start = Start()
    files: Mapping[str, Sequence[Version]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Checkpoint | None":
        """None where there is none.

        Raises:
            ValueError: for a damaged file.
        """
        file = folder / CHECKPOINT
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            if told.pop("sha256") != seal(told):
                raise ValueError("it has changed")
            return cls(
                Start(**told["start"]),
                {name: [Version(**each) for each in versions] for name, versions in told["files"].items()},
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{file} is damaged; {REMEDY}.") from error

    def write(self, folder: Path) -> None:
        told = asdict(self)
        write_text(folder / CHECKPOINT, json.dumps({**told, "sha256": seal(told)}, indent=2) + "\n")

    def version_of(self, file: Path) -> Version:
        """The version that the file is.

        Raises:
            FileNotFoundError: for a file that is missing.
            ValueError: for a file that is none of them.
        """
        if not file.is_file():
            raise FileNotFoundError(f"{file} is missing; {REMEDY}.")
        found = digest_of(file)
        for version in self.files.get(file.name, ()):
            if version.sha256 == found:
                return version
        raise ValueError(f"{file} is damaged: it is not what was written in training; {REMEDY}.")

    def settled(self, folder: Path) -> "Checkpoint":
        """Without the versions that were replaced.

        Raises:
            FileNotFoundError: for a missing file.
            ValueError: for a damaged one.
        """
        return replace(self, files={name: [self.version_of(folder / name)] for name in self.files})


@contextlib.contextmanager
def written_together(folder: Path, names: Sequence[str], epoch: int) -> Iterator[dict[str, Path]]:
    """Temporary paths by name; when the block ends all are moved into place, in order, or none is."""
    before = Checkpoint.read(folder) or Checkpoint()
    with contextlib.ExitStack() as stack:
        # The stack moves the last one first.
        paths = {name: stack.enter_context(atomic_path(folder / name)) for name in reversed(names)}
        yield paths
        files = dict(before.files)
        for name, path in paths.items():
            known = before.files.get(name, ())
            found = digest_of(folder / name) if known and (folder / name).exists() else None
            replaced = [version for version in known if version.sha256 == found]
            files[name] = [*replaced[:1], Version(digest_of(path), epoch)]
        replace(before, files=files).write(folder)


def digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(told: object) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
