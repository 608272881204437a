"""A tokenizer's codes of a data set that need not fit into memory, in shards."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tfprior.atomic import atomic_path, remove_unfinished, write_text
from tfprior.resumable_dataset import ResumableDataset

from .code_shards import DESCRIPTION, FORMAT, VERSION, read_description, read_shard, shard_file
from .levels import smallest
from .slices import digest_of_files

if TYPE_CHECKING:
    import tensorflow as tf

    from .pipeline import Batches


class Encoder(Protocol):
    """What encoding needs of a tokenizer with one grid of codes."""

    code_shape: tuple[int, int, int]
    codebook_size: int

    def encode(self, images: Any) -> np.ndarray: ...

    def weights_digest(self) -> str: ...


class ShardedCodes:
    """The codes that `encode_dataset` wrote, read shard by shard.

    Args:
        path: the folder.

    Attributes:
        grid_shape: (h, w, G).
        num_levels: kinds of code, K.
        num_examples: in all shards.

    Raises:
        FileNotFoundError: for a folder without codes.
        ValueError: for a damaged, unfinished or newer one; when read, for shards that are not as described.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        description = read_description(self.path)
        if description is None:
            raise FileNotFoundError(f"{path} holds no {DESCRIPTION}; expected a folder of encode_dataset.")
        if description["num_examples"] is None:
            raise ValueError(f"{path} is unfinished; call encode_dataset again, which goes on.")
        self.grid_shape: tuple[int, int, int] = tuple(description["grid_shape"])
        self.num_levels: int = description["num_levels"]
        self.num_examples: int = description["num_examples"]
        self._shard_size: int = description["shard_size"]

    def __len__(self) -> int:
        return self.num_examples

    def shards(self) -> Iterator[dict[str, np.ndarray]]:
        """Each shard as {"values": (N, h, w, G)}, with "condition" (N,) where the data have one."""
        return (self._read(index) for index in range(self._num_shards))

    def arrays(self) -> Any:
        """All codes at once as `fit` takes them: values, or a dict of values and condition."""
        joined = _joined(list(self.shards()))
        return joined if len(joined) > 1 else joined["values"]

    def read(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """The examples from `start` to before `stop`, as `shards` gives them, of those that they lie in."""
        size = self._shard_size
        parts = [
            {
                name: part[max(start - index * size, 0) : stop - index * size]
                for name, part in self._read(index).items()
            }
            for index in range(start // size, -(-stop // size))
        ]
        return _joined(parts)

    def digest(self) -> str:
        """SHA-256 of the names, sizes and times of the files."""
        files = (shard_file(self.path, index) for index in range(self._num_shards))
        return digest_of_files([self.path / DESCRIPTION, *files], self.path)

    def pipeline(
        self, batch_size: int, shuffle: bool = True, seed: int = 0, drop_remainder: bool = False
    ) -> "tf.data.Dataset":
        """Batches of values, or of a dict of values and condition, with one or two shards in memory.

        Each epoch holds every example once. Shuffling draws the order of the shards and of the examples in
        each anew.
        """
        return self._batches(batch_size, shuffle, seed, drop_remainder).of_one_epoch

    def resumable(self, batch_size: int, seed: int = 0, drop_remainder: bool = False) -> ResumableDataset:
        """The batches of `pipeline`, shuffled, of all epochs from any step on."""
        return self._batches(batch_size, True, seed, drop_remainder).of_all

    def _batches(self, batch_size: int, shuffle: bool, seed: int, drop_remainder: bool) -> "Batches":
        from .pipeline import sharded_batches

        sizes = [self._size_of(index) for index in range(self._num_shards)]
        return sharded_batches(sizes, self._read, batch_size, shuffle, seed, drop_remainder)

    def _size_of(self, index: int) -> int:
        return min(self._shard_size, self.num_examples - index * self._shard_size)

    @property
    def _num_shards(self) -> int:
        return -(-self.num_examples // self._shard_size)

    def _read(self, index: int) -> dict[str, np.ndarray]:
        """A shard without what tells its source, checked to be as described."""
        file = shard_file(self.path, index)
        count = self._size_of(index)
        shard = read_shard(file)
        shard.pop("source", None)
        values = shard.get("values", np.zeros(0))
        shapes_fit = values.shape == (count, *self.grid_shape) and all(
            len(a) == count for a in shard.values()
        )
        if not shapes_fit or values.dtype.kind != "u" or values.max() >= self.num_levels:
            raise ValueError(
                f"{file} holds {values.dtype} codes of shape {values.shape}; expected {count} grids of "
                f"{self.grid_shape} below {self.num_levels}: delete it and call encode_dataset again."
            )
        return shard


def encode_dataset(
    tokenizer: Encoder,
    dataset: Any,
    path: str | os.PathLike[str],
    shard_size: int = 8192,
    progress: bool = True,
) -> ShardedCodes:
    """Writes the codes of a data set to the folder `path`; called again after an interruption, it goes on.

    Args:
        tokenizer: with one grid of codes.
        dataset: images (N, H, W, C), a dict of them as "values" and labels as "condition", or batches of
            either: a tf.data pipeline or any other iterable, with the same order every time it is read.
        path: the folder.
        shard_size: examples in a file.
        progress: whether a bar is shown.

    Raises:
        ValueError: for images that the tokenizer was not built for, and a folder that holds codes of another
            tokenizer, shard size or data set.
        FileExistsError: for a folder that holds anything else.
    """
    check_one_grid(tokenizer)
    if not isinstance(shard_size, int | np.integer) or shard_size < 1:
        raise ValueError(f"shard_size={shard_size!r}; expected a positive integer.")
    path = Path(path)
    wanted = description_of(tokenizer, shard_size)
    found = read_description(path)
    if found is None:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise FileExistsError(f"{path} exists and holds no codes; choose another path.")
        write_description(path, wanted)
    else:
        changed = [name for name in wanted if found.get(name) != wanted[name]]
        if changed:
            raise ValueError(
                f"{path} holds codes with another {', '.join(changed)}; choose another path, or delete it."
            )
    remove_unfinished(path)
    count = 0
    for index, shard in enumerate(_gathered(_batches(dataset, shard_size), shard_size, progress)):
        file = shard_file(path, index)
        count += len(shard["values"])
        if not file.exists():
            codes = encoded(tokenizer, shard)
            with atomic_path(file) as temporary, temporary.open("wb") as stream:
                np.savez_compressed(stream, allow_pickle=False, **codes)
        elif read_shard(file).get("source") != _source(shard):
            raise ValueError(f"{file} holds codes of other data; choose another path, or delete {path}.")
    if not count:
        raise ValueError("Got an empty dataset; expected at least one image.")
    if found is not None and found["num_examples"] not in (None, count):
        raise ValueError(
            f"{path} holds codes of {found['num_examples']} examples and the data are {count}; choose "
            "another path, or delete it."
        )
    write_description(path, wanted, count)
    return ShardedCodes(path)


def encoded(tokenizer: Encoder, examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A shard: codes of the "values", the "condition" if there is one, and what tells their source."""
    codes = smallest(tokenizer.encode(examples["values"]), tokenizer.codebook_size)
    return {**examples, "values": codes, "source": np.asarray(_source(examples))}


def description_of(tokenizer: Encoder, shard_size: int) -> dict[str, Any]:
    """What codes.json says, but for the number of examples."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "grid_shape": list(tokenizer.code_shape),
        "num_levels": tokenizer.codebook_size,
        "shard_size": shard_size,
        "tokenizer": tokenizer.weights_digest(),
    }


def write_description(path: Path, description: dict[str, Any], num_examples: int | None = None) -> None:
    """Writes codes.json at once; without their number the codes are unfinished."""
    text = json.dumps({**description, "num_examples": num_examples}, indent=1)
    write_text(path / DESCRIPTION, text + "\n")


def check_one_grid(tokenizer: Any) -> None:
    """Raises ValueError for a tokenizer with more than one grid of codes."""
    if not hasattr(tokenizer, "code_shape"):
        raise ValueError(
            f"Got a {type(tokenizer).__name__} of several grids of codes; expected one grid: call its encode "
            "on parts of the data."
        )


def _batches(dataset: Any, size: int) -> Iterable[Any]:
    """The data set as batches."""
    if not isinstance(dataset, dict) and not hasattr(dataset, "shape"):
        return dataset
    parts = _parts(dataset)
    starts = range(0, len(parts["values"]), size)
    return ({name: part[start : start + size] for name, part in parts.items()} for start in starts)


def _gathered(batches: Iterable[Any], size: int, progress: bool) -> Iterator[dict[str, np.ndarray]]:
    """Batches of any size → dicts of `size` examples; the last one may hold fewer."""
    from rich.progress import track

    waiting: list[dict[str, np.ndarray]] = []
    held = 0
    for batch in track(batches, description="encoding", disable=not progress, transient=True):
        parts = _parts(batch)
        waiting.append(parts)
        held += len(parts["values"])
        if held < size:
            continue
        joined, used = _joined(waiting), held - held % size
        for first in range(0, used, size):
            yield {name: part[first : first + size] for name, part in joined.items()}
        waiting, held = [{name: part[used:] for name, part in joined.items()}], held - used
    if held:
        yield _joined(waiting)


def _parts(batch: Any) -> dict[str, np.ndarray]:
    """A batch as arrays of "values" and, where the data have one, "condition"."""
    if isinstance(batch, tuple) and len(batch) == 1:
        (batch,) = batch
    named = batch if isinstance(batch, dict) else {"values": batch}
    if isinstance(batch, tuple) or "values" not in named or set(named) - {"values", "condition"}:
        what = f"{len(batch)} parts" if isinstance(batch, tuple) else f"keys {sorted(named)}"
        raise ValueError(f"Got a batch of {what}; expected images, or a dict of 'values' and 'condition'.")
    parts = {name: np.asarray(part) for name, part in named.items() if part is not None}
    counts = {name: len(part) for name, part in parts.items()}
    if len(set(counts.values())) != 1:
        raise ValueError(f"Got a batch of {counts}; expected as many of each.")
    return parts


def _source(shard: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of what a shard was made of."""
    sha = hashlib.sha256()
    for name, part in sorted(shard.items()):
        sha.update(f"{name} {part.shape}".encode())
        sha.update(np.ascontiguousarray(part, "float32" if part.dtype.kind == "f" else "int64").tobytes())
    return sha.hexdigest()


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
