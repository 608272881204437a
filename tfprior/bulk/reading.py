"""The data of a job as its model takes them, a slice at a time."""

import functools
from pathlib import Path
from typing import Any

from tfprior.bulk.job import DataAt, Job
from tfprior.data import Slice, Slices, open_slices
from tfprior.data.image_size import check_image_size
from tfprior.data.levels import fit_levels, quantized
from tfprior.data.loading import NAMED


def data_for(
    model: Any,
    path: str,
    part: str = "train",
    image_size: int | tuple[int, int] | None = None,
    num_levels: int | None = None,
) -> tuple[DataAt, Slices]:
    """Opens data for a model.

    Args:
        model: that takes them.
        path: of the data, or the name of a data set.
        part: "train" or "test".
        image_size: of the pictures of a folder or in Parquet.
        num_levels: of the values, where the data do not tell; fewer than theirs quantizes them.

    Raises:
        FileNotFoundError: for missing data.
        ValueError: for data that are unreadable, or of other grids or levels than the model's.
    """
    channels = model.grid_shape[-1]
    opened = open_slices(path, part, image_size=image_size, channels=channels)
    levels = num_levels or opened.num_levels or model.num_levels
    if opened.are_codes and num_levels not in (None, opened.num_levels):
        raise ValueError(
            f"{path} holds codes of {opened.num_levels} kinds; leave num_levels={num_levels} out."
        )
    if (tuple(opened.grid_shape), levels) != (tuple(model.grid_shape), model.num_levels):
        kind = "codes" if opened.are_codes else "levels"
        raise ValueError(
            f"{path} has grids {opened.grid_shape} of {levels} {kind}; expected {tuple(model.grid_shape)} of "
            f"{model.num_levels}, as the model takes them."
        )
    place = path if path in NAMED else str(Path(path).expanduser().resolve())
    size = None if image_size is None else check_image_size(image_size)
    return DataAt(place, opened.digest, part, channels, model.num_levels, size), opened


def read(job: Job, index: int) -> Slice:
    """The examples of a shard: integers (N, H, W, C) in [0, num_levels), and labels (N,) if there are any.

    Raises:
        ValueError: for data that have changed since the job began, are damaged, or leave the levels.
    """
    assert job.data is not None
    opened = _opened(job.data)
    values, labels = opened.read(*job.bounds(index))
    levels = opened.num_levels
    if levels is not None and levels > job.data.num_levels:
        values = quantized(fit_levels(values, levels, opened.name), levels, job.data.num_levels)
    return Slice(fit_levels(values, job.data.num_levels, opened.name), labels)


@functools.lru_cache(maxsize=1)
def _opened(data: DataAt) -> Slices:
    opened = open_slices(data.path, data.part, image_size=data.image_size, channels=data.channels)
    if opened.digest != data.digest:
        raise ValueError(
            f"{data.path} has changed since the job began: names, sizes or times of its files are others; "
            "put the old ones back, or begin anew in another folder."
        )
    return opened
