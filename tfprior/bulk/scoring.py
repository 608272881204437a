"""The job of `tfprior bulk score`: how unlike each image is to what a model was trained on."""

import csv
import io
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfprior.bulk.job import SHARD_SIZE, Job
from tfprior.bulk.models import model_of, open_model
from tfprior.bulk.reading import data_for, read
from tfprior.image_files import check_fits_files
from tfprior.measuring.outliers import COLUMNS, outlier_scores

BATCH_SIZE = 64


def score_job(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    tokenizer: str | None = None,
    finer: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
    batch_size: int = BATCH_SIZE,
    **options: Any,
) -> Job:
    """The outlier scores of images, a line of a .csv file for each: see `tfprior.measuring.outlier_scores`.

    Args:
        model: a bundle, a run or a .keras file.
        data: as in `encode_job`.
        tokenizer: where the tokenizer's run is now, of a prior of codes.
        finer: runs of the priors of the finer codes.
        shard_size: images in a shard.
        batch_size: images that go through the network at once.
        **options: `part`, `image_size` and `num_levels`, as in `encode_job`.

    Raises:
        FileNotFoundError: for a missing model or missing data.
        ValueError: for what is damaged, data that the model does not take, and images that are no PNG.
    """
    at, opened = open_model(os.fspath(model), tokenizer, finer)
    place, images = data_for(opened, os.fspath(data), **options)
    check_fits_files(opened.num_levels, opened.grid_shape[-1])
    return Job("score", at, place, images.count, shard_size, {"batch_size": batch_size})


def content(job: Job, index: int) -> bytes:
    """The .csv file of a shard; `index` in it counts the images of all shards."""
    values, labels = read(job, index)
    scores = outlier_scores(model_of(job), values, batch_size=job.options["batch_size"])
    start, stop = job.bounds(index)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(scores.per_dim(math.prod(values.shape[1:])).rows(np.arange(start, stop), labels))
    return text.getvalue().encode()
