"""The files of a job's folder beside its shards.

job.json              the job, written before anything else
.shards/00000.json    of each shard that stands, what it is known by
index.json            the job and all of its shards, written last; .shards goes with it
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tfprior.atomic import write_text
from tfprior.bulk.job import Job
from tfprior.runs.checkpoint import digest_of, seal
from tfprior.runs.lock import is_empty

FORMAT, SCHEMA = "tfprior.bulk", 1
JOB, INDEX, RECORDS = "job.json", "index.json", ".shards"


@dataclass(frozen=True)
class Entry:
    """A shard: its file, and what that is known by."""

    file: str
    examples: int
    bytes: int
    sha256: str

    def check(self, folder: Path) -> None:
        """Raises ValueError unless the file is what was written."""
        file = folder / self.file
        if file.stat().st_size != self.bytes or digest_of(file) != self.sha256:
            raise ValueError(
                f"{file} is damaged: it is not what was written; delete it, and the same job makes it again."
            )


@dataclass(frozen=True)
class Index:
    """A finished job and its shards, in order."""

    job: Job
    shards: tuple[Entry, ...]

    def write(self, folder: Path) -> None:
        """Writes index.json, which says that the job is finished."""
        told = {**_envelope(self.job), "shards": [asdict(shard) for shard in self.shards]}
        _write(folder / INDEX, told)
        shutil.rmtree(folder / RECORDS, ignore_errors=True)


def read_index(folder: Path | str) -> Index:
    """The index of a finished job.

    Raises:
        FileNotFoundError: before it is finished.
        ValueError: for a damaged or a newer one.
    """
    file = Path(folder) / INDEX
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no {INDEX}; expected the folder of a job that is finished.")
    told = _read(file)
    try:
        shards = tuple(Entry(**entry) for entry in told["shards"])
        return Index(Job.from_json(told["job"]), shards)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(_damaged(file, error)) from error


def claim(folder: Path, job: Job) -> tuple[Entry, ...] | None:
    """Makes the folder that of the job; gives the shards of one that is finished.

    Raises:
        FileExistsError: for a folder that holds anything but a job.
        ValueError: for a folder of another job, and a damaged one.
    """
    file = folder / JOB
    if not file.exists():
        if not is_empty(folder):
            raise FileExistsError(f"{folder} holds files and no bulk job; choose another folder.")
        _write(file, _envelope(job))
        return None
    try:
        there = Job.from_json(_read(file)["job"])
    except (KeyError, TypeError) as error:
        raise ValueError(_damaged(file, error)) from error
    differences = there.differences(job)
    if differences:
        raise ValueError(
            f"{folder} is the folder of another job, with another {', '.join(differences)}; choose another "
            "folder, or delete it."
        )
    return read_index(folder).shards if (folder / INDEX).exists() else None


def write_record(folder: Path, index: int, entry: Entry) -> None:
    """Tells that a shard stands."""
    _write(_record(folder, index), asdict(entry))


def read_record(folder: Path, index: int) -> Entry | None:
    """What a shard is known by; None of one that is not finished.

    Raises:
        ValueError: for a damaged record.
    """
    file = _record(folder, index)
    if not file.is_file():
        return None
    try:
        told = _read(file, enveloped=False)
        return Entry(**told)
    except TypeError as error:
        raise ValueError(_damaged(file, error)) from error


def _record(folder: Path, index: int) -> Path:
    return folder / RECORDS / f"{index:05}.json"


def _envelope(job: Job) -> dict[str, Any]:
    return {"format": FORMAT, "schema": SCHEMA, "job": job.to_json()}


def _write(file: Path, told: Mapping[str, Any]) -> None:
    write_text(file, json.dumps({**told, "seal": seal(told)}, indent=1) + "\n")


def _read(file: Path, enveloped: bool = True) -> dict[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        known = not enveloped or told["format"] == FORMAT
        schema = told["schema"] if enveloped else SCHEMA
        if known and schema == SCHEMA and told.pop("seal") != seal(told):
            raise ValueError("it has changed")
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(_damaged(file, error)) from error
    if not known or schema != SCHEMA:
        raise ValueError(
            f"{file} has format {told['format']!r} and schema {schema!r}; this tfprior reads {FORMAT!r} of "
            f"schema {SCHEMA}: use the version that wrote it."
        )
    return dict(told)


def _damaged(file: Path, error: Exception) -> str:
    remedy = (
        "delete the folder" if file.name == JOB else "delete it, and the same job makes again what it told of"
    )
    return f"{file} is damaged ({error}); {remedy}."
