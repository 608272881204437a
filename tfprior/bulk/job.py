"""What is to be done, as a value that JSON holds: by which model, to which data, in which shards."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tfprior.inputs import is_integer

SHARD_SIZE = 1024


@dataclass(frozen=True)
class ModelAt:
    """A bundle, a run or a .keras file, and what it is known by.

    Attributes:
        path: where it is.
        digest: SHA-256 of the bundle's manifest, or of the architecture and the weights.
        tokenizer: run of the tokenizer, of a prior of codes that does not remember it.
        finer: runs of the priors of the finer codes.
    """

    path: str
    digest: str
    tokenizer: str | None = None
    finer: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataAt:
    """Images or codes as `tfprior.data.open_slices` takes them, and what they are known by.

    Attributes:
        path: or the name of a data set.
        digest: of the names, sizes and times of the files.
        part: "train" or "test".
        channels: that the model takes.
        num_levels: that the model takes: data of more are quantized.
        image_size: (H, W) that images of a folder are cropped and resized to.
    """

    path: str
    digest: str
    part: str
    channels: int
    num_levels: int
    image_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Job:
    """The work of all shards.

    Attributes:
        task: "encode", "score", "sample" or "compress".
        model: that does it.
        data: that it is done to; None of samples.
        count: images or codes in all.
        shard_size: of them in a shard; the last one may hold fewer.
        options: of the task.

    Raises:
        ValueError: for a shard size below 1, and no examples.
    """

    task: str
    model: ModelAt
    data: DataAt | None
    count: int
    shard_size: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not is_integer(self.shard_size) or self.shard_size < 1:
            raise ValueError(f"shard_size={self.shard_size!r}; expected a positive integer.")
        if not is_integer(self.count) or self.count < 1:
            raise ValueError(f"num={self.count!r}; expected a positive integer.")
        batch_size = self.options.get("batch_size", 1)
        if not is_integer(batch_size) or batch_size < 1:
            raise ValueError(f"batch_size={batch_size!r}; expected a positive integer.")

    @property
    def num_shards(self) -> int:
        return -(-self.count // self.shard_size)

    def bounds(self, index: int) -> tuple[int, int]:
        """The first example of a shard, and the one after its last."""
        start = index * self.shard_size
        return start, min(start + self.shard_size, self.count)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> "Job":
        """The job that `to_json` told of, also through a file.

        Raises:
            TypeError: for other fields.
            KeyError: for missing ones.
        """
        model, data = dict(told["model"]), told["data"] and dict(told["data"])
        model["finer"] = tuple(model["finer"])
        if data and data["image_size"] is not None:
            data["image_size"] = tuple(data["image_size"])
        return cls(**{**told, "model": ModelAt(**model), "data": data and DataAt(**data)})

    def differences(self, other: "Job") -> list[str]:
        """In what another job makes other shards; places do not count, only what lies there."""
        if self.task != other.task:
            return ["task"]
        here, there = self._identity(), other._identity()
        return [name for name in here | there if here.get(name) != there.get(name)]

    def _identity(self) -> dict[str, Any]:
        data = {} if self.data is None else asdict(self.data)
        known = {name: value for name, value in data.items() if name not in ("path", "digest")}
        return {
            "model": self.model.digest,
            "data": data.get("digest"),
            "num": self.count,
            "shard_size": self.shard_size,
            **known,
            **self.options,
        }
