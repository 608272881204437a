"""What a manifest says of a function: its inputs and outputs."""

import re
from dataclasses import dataclass
from typing import Literal

from tfprior.export.checks import Size, check_tensor, require

WORDS = ("known", "past", "present")


def argument(name: str) -> str:
    """A port's name as TensorFlow's signatures have it, which have no dots."""
    return name.replace(".", "_")


@dataclass(frozen=True)
class PortDescription:
    """An input or output of a function; its shape begins with the batch.

    A word in it is a size that each call chooses: positions "known", tokens of the "past", or the "present".
    """

    name: str
    dtype: Literal["float32", "int32"]
    shape: tuple[Literal["batch", "known", "past", "present"] | Size, ...]
    meaning: str

    def __post_init__(self) -> None:
        require(
            self.shape[:1] == ("batch",) and "batch" not in self.sizes,
            f"the port {self.name!r} has the shape {self.shape}; expected ('batch', …) and sizes.",
        )
        sizes = tuple(size for size in self.sizes if isinstance(size, int))
        check_tensor(f"the port {self.name!r}", sizes)

    @property
    def sizes(self) -> tuple[int | str, ...]:
        """The shape of one example."""
        return self.shape[1:]

    def fits(self, shape: tuple[int, ...], batch: int) -> bool:
        """Whether an array of that shape can be this port of a batch."""
        return len(shape) == len(self.shape) and all(
            found == size
            for found, size in zip(shape, (batch, *self.sizes), strict=True)
            if size not in WORDS
        )


@dataclass(frozen=True)
class TensorNames:
    """The tensors of a SavedModel that are a function's ports, "OPERATION:INDEX" by the names of ports."""

    inputs: dict[str, str]
    outputs: dict[str, str]

    def __post_init__(self) -> None:
        for port, tensor in [*self.inputs.items(), *self.outputs.items()]:
            require(
                re.fullmatch(r"[\w./>-]+:\d+", tensor, re.ASCII),
                f"the port {port!r} is the tensor {tensor!r}; expected OPERATION:INDEX.",
            )


@dataclass(frozen=True)
class FunctionDescription:
    inputs: tuple[PortDescription, ...]
    outputs: tuple[PortDescription, ...]

    def __post_init__(self) -> None:
        for ports in (self.inputs, self.outputs):
            names = [port.name for port in ports]
            require(
                names and len(set(names)) == len(names),
                f"a function has ports named {names}; expected at least one, each with a name of its own.",
            )

    def input(self, name: str) -> PortDescription:
        return next(port for port in self.inputs if port.name == name)
