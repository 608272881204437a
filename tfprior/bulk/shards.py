"""The unit of work: one shard of a job, by its number."""

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tfprior.atomic import atomic_path
from tfprior.bulk import compressing, drawing, encoding, scoring
from tfprior.bulk.index import JOB, Entry, read_record, write_record
from tfprior.bulk.job import Job


class Task(NamedTuple):
    """What a job does: its files are {stem}-00000{suffix}, …; `finish` comes after the last one."""

    stem: str
    suffix: str
    content: Callable[[Job, int], bytes]
    finish: Callable[[Job, Path], None] | None = None


TASKS = {
    "encode": Task("codes", ".npz", encoding.content, encoding.finish),
    "score": Task("scores", ".csv", scoring.content),
    "sample": Task("samples", ".npz", drawing.content),
    "compress": Task("images", ".tfp", compressing.content),
}


def make_shard(job: Job, folder: str, index: int, known: Entry | None) -> Entry:
    """Makes the shard of that number, unless it stands; one that does is compared with what it is known by.

    Args:
        job: the whole job.
        folder: of its files.
        index: of the shard.
        known: of a finished job, the shard; None of another, whose shards have records.

    Raises:
        FileNotFoundError: where the folder is not to be seen.
        ValueError: for a shard that is damaged, and whatever hinders a new one.
    """
    path = Path(folder)
    if not (path / JOB).is_file():
        raise FileNotFoundError(
            f"{folder} is not there on {socket.gethostname()}; expected a folder that all workers share."
        )
    task = TASKS[job.task]
    file = path / f"{task.stem}-{index:05}{task.suffix}"
    entry = known or read_record(path, index)
    if entry is not None and file.exists():
        entry.check(path)
        return entry
    content = task.content(job, index)
    with atomic_path(file) as temporary:
        temporary.write_bytes(content)
        start, stop = job.bounds(index)
        made = Entry(file.name, stop - start, len(content), hashlib.sha256(content).hexdigest())
    # Only now: killed in between, a shard without a record is made once more, to the same bytes.
    write_record(path, index, made)
    return made
