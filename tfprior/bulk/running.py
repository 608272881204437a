"""A job from its folder to its index."""

import functools
import os
from pathlib import Path
from typing import TYPE_CHECKING

from tfprior.atomic import remove_unfinished
from tfprior.bulk.engine import each
from tfprior.bulk.index import RECORDS, Index, claim
from tfprior.bulk.job import Job
from tfprior.bulk.shards import TASKS, make_shard
from tfprior.progress import progress_bar
from tfprior.runs.lock import locked

if TYPE_CHECKING:
    from distributed import Client


def run(
    job: Job, folder: str | os.PathLike[str], client: "Client | None" = None, progress: bool = True
) -> Index:
    """Makes all shards of a job that do not stand yet, and then the index.

    Of a job that is finished, all shards are compared with the index.

    Args:
        job: of `encode_job`, `score_job`, `sample_job` or `compress_job`.
        folder: of its files, which all workers see under this path.
        client: of the Dask cluster that works; this process when left out.
        progress: whether a bar is shown, where there is a terminal.

    Raises:
        FileExistsError: for a folder that holds anything but a job.
        ValueError: for a folder of another job, a shard that is damaged, and whatever hinders one.
        BlockingIOError: while another process works on the folder.
        RuntimeError: where the cluster is lost, or its workers again and again.
    """
    path = Path(folder).resolve()
    if path.exists() and not path.is_dir():
        raise FileExistsError(f"{path} is a file; expected a folder.")
    with locked(path, "written"):
        known = claim(path, job) or [None] * job.num_shards
        clean(path)
        work = functools.partial(make_shard, job, str(path))
        shards = {}
        with progress_bar(job.task, job.count, progress) as move:
            for index, entry in each(work, known, client):
                shards[index] = entry
                move(entry.examples)
        finish = TASKS[job.task].finish
        if finish is not None:
            finish(job, path)
        made = Index(job, tuple(shards[index] for index in range(job.num_shards)))
        made.write(path)
        clean(path)
    return made


def clean(folder: Path) -> None:
    """Deletes what workers that were killed left."""
    remove_unfinished(folder)
    remove_unfinished(folder / RECORDS)
