"""The images of a folder as arrays, so that they are decoded but once, and need not fit into memory.

cache/5e1f…/         named by the files, their sizes and times, and the size that the images got
  images-00000.npz   the first 4096 images, (N, H, W) grey or (N, H, W, 3)
  …
"""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tfprior.atomic import atomic_path

from .decoding import check_alike, decoded, stacked
from .image_file import Picture, decode, read_image
from .mapped import MappedArray, map_images
from .slices import digest_of_files
from .stored import StoredArray
from .stored_images import stored_images

SHARD = 4096
KEY = "images"


def cached_pictures(
    paths: Sequence[Path], root: Path, image_size: tuple[int, int] | None, cache: Path
) -> tuple[StoredArray, int]:
    """The images of these files below `root` (N, H, W, C), and how many levels they have.

    Stopped at any moment, it goes on with what is not in the cache yet; several processes may fill one.

    Raises:
        ValueError: for a file that is unreadable or no image, images of different sizes or bits, and files of
            the cache that are damaged.
        OSError: where the cache cannot be written; what it holds stays.
    """
    key = f"{digest_of_files(paths, root)} {image_size}"
    folder = cache / hashlib.sha256(key.encode()).hexdigest()[:16]
    with faults_explained(cache):
        folder.mkdir(parents=True, exist_ok=True)
    first = read_image(paths[0], image_size)
    shards = []
    for start in range(0, len(paths), SHARD):
        file = folder / f"images-{start // SHARD:05}.npz"
        its = paths[start : start + SHARD]
        if not file.exists():
            pictures = decoded(its, partial(decode, image_size=image_size))
            check_alike(pictures, its, first, paths[0])
            write(file, stacked([picture.values for picture in pictures]))
        shards.append(open_shard(file, len(its), first))
    if len({len(shard.shape) for shard in shards}) > 1:
        shards = [shard if len(shard.shape) == 4 else in_colour(shard, first) for shard in shards]
    return stored_images(shards, f"the cache of {root}"), first.num_levels


@contextlib.contextmanager
def faults_explained(cache: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(
            f"{cache} could not be written ({error.strerror or error}); expected a folder with room for the "
            "images: make room, or choose another cache."
        ) from error


def write(file: Path, images: np.ndarray) -> None:
    with (
        faults_explained(file.parents[1]),
        atomic_path(file) as temporary,
        temporary.open("wb") as stream,
    ):
        np.savez(stream, allow_pickle=False, **{KEY: images})


def open_shard(file: Path, count: int, first: Picture) -> MappedArray:
    """So many images like the first one."""
    remedy = "delete it, and they are decoded again"
    shard = map_images(file, [KEY], [KEY], remedy=remedy).get(KEY)
    of_grey, dtype = (count, *first.values.shape[:2]), first.values.dtype
    if shard is None or shard.shape not in (of_grey, (*of_grey, 3)) or shard.header.dtype != dtype:
        raise ValueError(f"{file} holds other images than those it was made of; expected {count}: {remedy}.")
    return shard


def in_colour(grey: MappedArray, first: Picture) -> MappedArray:
    """The shard as RGB, where others have colour."""
    write(grey.path, np.stack([grey.take(...)] * 3, axis=-1))
    return open_shard(grey.path, grey.shape[0], first)
