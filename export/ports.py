"""What a manifest says of a function: its inputs and outputs."""

from dataclasses import dataclass
from typing import Literal

from tfprior.export.checks import Size, check_tensor, require


@dataclass(frozen=True)
class PortDescription:
    """An input or output of a function; its shape begins with the batch."""

    name: str
    dtype: Literal["float32", "int32"]
    shape: tuple[Literal["batch"] | Size, ...]
    meaning: str

    def __post_init__(self) -> None:
        sizes = self.shape[1:]
        require(
            self.shape[:1] == ("batch",) and all(isinstance(size, int) for size in sizes),
            f"the port {self.name!r} has the shape {self.shape}; expected ('batch', …) and sizes.",
        )
        check_tensor(f"the port {self.name!r}", self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of one example."""
        return tuple(size for size in self.shape if isinstance(size, int))


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
