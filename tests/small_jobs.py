"""Jobs of four tasks over tiny bundles, and what their folders hold."""

from pathlib import Path

import numpy as np

from tfprior.bulk import Index, Job, encode_job, sample_job, score_job
from tfprior.data import ShardedCodes

COUNT, SIZE = 21, 4
SHARDS = 6


def save_images(path: Path, *, count: int = COUNT) -> Path:
    """Images (8, 4, 1) of 4 levels, as the bundle of a generator takes them."""
    np.save(path, np.random.default_rng(0).integers(4, size=(count, 8, 4, 1), dtype="uint8"))
    return path


def jobs(prior: Path, generator: Path, images: Path) -> dict[str, Job]:
    return {
        "encode": encode_job(generator, images, shard_size=SIZE),
        "score": score_job(generator, images, shard_size=SIZE, batch_size=3),
        "sample": sample_job(prior, COUNT, seed=5, shard_size=SIZE, batch_size=2),
        "images": sample_job(generator, COUNT, shard_size=SIZE),
    }


def check_folder(folder: Path, index: Index) -> None:
    """Every shard is there once, with its index, and nothing else is."""
    names = [shard.file for shard in index.shards]
    others = {"job.json", "index.json"} | ({"codes.json"} if index.job.task == "encode" else set())
    assert sorted(path.name for path in folder.iterdir()) == sorted({*names, *others})
    assert len(set(names)) == len(names) == index.job.num_shards
    assert sum(shard.examples for shard in index.shards) == index.job.count


def codes_in(folder: Path) -> np.ndarray:
    return ShardedCodes(folder).arrays()


def samples_in(folder: Path) -> dict[str, np.ndarray]:
    """The arrays of all shards, joined."""
    parts = []
    for file in sorted(folder.glob("samples-*.npz")):
        with np.load(file) as archive:
            parts.append(dict(archive))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
