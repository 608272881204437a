"""The job of `tfprior bulk encode`: codes of images, as `tfprior.data.ShardedCodes` reads them."""

import os
from pathlib import Path
from typing import Any

from tfprior.bulk.job import SHARD_SIZE, Job
from tfprior.bulk.models import model_of, open_model
from tfprior.bulk.npz import packed
from tfprior.bulk.reading import data_for, read
from tfprior.data.codes import description_of, encoded, write_description


def encode_job(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    shard_size: int = SHARD_SIZE,
    **options: Any,
) -> Job:
    """The codes of images, with their labels where the data have some.

    Args:
        model: a bundle of a generator, or the run or .keras file of a tokenizer, with one grid of codes.
        data: an .npy file, an .npz file that is not compressed, a folder of images or of .npy files, or the
            name of a data set.
        shard_size: images in a shard.
        **options: `part`, "train" or "test" of data in parts; `image_size` of the images of a folder;
            `num_levels`, where the data do not tell, fewer than theirs quantizes them.

    Raises:
        FileNotFoundError: for a missing model or missing data.
        ValueError: for what is damaged, a model that encodes no images, and data that it does not take.
    """
    at, opened = open_model(os.fspath(model), encodes=True)
    place, images = data_for(opened, os.fspath(data), **options)
    if images.are_codes:
        raise ValueError(f"{data} holds codes already; expected images.")
    return Job("encode", at, place, images.count, shard_size)


def content(job: Job, index: int) -> bytes:
    """The .npz file of a shard."""
    values, labels = read(job, index)
    named = {"values": values} if labels is None else {"values": values, "condition": labels}
    return packed(encoded(model_of(job), named))


def finish(job: Job, folder: Path) -> None:
    """Writes codes.json, by which the codes are read."""
    write_description(folder, description_of(model_of(job), job.shard_size), job.count)
