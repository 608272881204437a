"""The job of `tfprior bulk compress`: files that `tfprior decompress` opens."""

import os
from collections.abc import Sequence
from typing import Any

from tfprior.bulk.job import SHARD_SIZE, Job
from tfprior.bulk.models import is_bundle, model_of, open_model
from tfprior.bulk.reading import data_for, read
from tfprior.orders import OrderName

BATCH_SIZE = 128


def compress_job(
    model: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    tokenizer: str | None = None,
    finer: Sequence[str] = (),
    shard_size: int = SHARD_SIZE,
    batch_size: int = BATCH_SIZE,
    order: OrderName | int = "raster",
    **options: Any,
) -> Job:
    """Images in as many bits as their likelihood says: see `tfprior.compression.compress`.

    Args:
        model: a run or a .keras file.
        data: as in `encode_job`.
        tokenizer: where the tokenizer's run is now, of a prior of codes.
        finer: runs of the priors of the finer codes.
        shard_size: images in a shard.
        batch_size: images coded side by side.
        order: in which an any-order prior takes the pixels.
        **options: `part`, `image_size` and `num_levels`, as in `encode_job`.

    Raises:
        FileNotFoundError: for a missing model or missing data.
        ValueError: for what is damaged, a bundle, and data that the model does not take.
    """
    if is_bundle(os.fspath(model)):
        raise ValueError(f"{model} is a bundle, which does not compress; expected a run or a .keras file.")
    at, opened = open_model(os.fspath(model), tokenizer, finer)
    place, images = data_for(opened, os.fspath(data), **options)
    if opened.num_classes is not None and not images.has_labels:
        raise ValueError(
            f"{model} is conditioned on classes and {data} has no labels; expected one for each image."
        )
    from tfprior.compression.ordering import number_of, order_for

    order_for(opened, number_of(order))
    along = {} if order == "raster" else {"order": order}  # as jobs were before there were others
    return Job("compress", at, place, images.count, shard_size, {"batch_size": batch_size, **along})


def content(job: Job, index: int) -> bytes:
    """The compressed file of a shard."""
    from tfprior.compression import compress

    model, (values, labels) = model_of(job), read(job, index)
    condition = labels if model.num_classes is not None else None
    order = job.options.get("order", "raster")
    return compress(model, values, condition, job.options["batch_size"], order=order)
