"""The values that an ONNX graph names, as far as they matter to whether it may be opened."""

from __future__ import annotations

from typing import Any, NamedTuple

from tfprior.export.protobuf import MalformedError


def quoted(name: bytes | memoryview) -> str:
    """A name of any bytes and length, to be shown."""
    return repr(bytes(name)[:80].decode("latin-1"))


class Node(NamedTuple):
    operator: str
    inputs: list[bytes]
    outputs: list[bytes]
    attributes: list[dict[str, Any]]


class Constant(NamedTuple):
    integers: list[int] | None
    """Its values, if they are few integers."""


Value = Node | Constant | None
"""What makes a value; None for an input."""


class Scope:
    """The values that a graph names, within those of the graphs around it."""

    def __init__(self, outer: Scope | None = None, loop: Node | None = None) -> None:
        self.outer, self.loop = outer, loop
        self.values: dict[bytes, Value] = {}
        self.inputs: list[bytes] = []
        self.outputs: list[bytes] = []
        self.checked: set[bytes] = set()

    def define(self, name: bytes, value: Value) -> None:
        if name in self.values:
            raise MalformedError(f"makes {quoted(name)} twice")
        self.values[name] = value

    def find(self, name: bytes) -> tuple[Scope, Value]:
        """The value of that name and the scope that holds it."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope, scope.values[name]
            scope = scope.outer
        raise MalformedError(f"uses {quoted(name)}, which nothing makes")

    def handed_in(self, name: bytes) -> bytes | None:
        """What a loop outside calls the input `name` of its body, if the body never changes it."""
        if self.loop is None or name not in self.inputs:
            return None
        index = self.inputs.index(name)
        if not 2 <= index < min(len(self.loop.inputs), len(self.outputs) + 1):
            return None
        returned = self.outputs[index - 1]
        value = self.values.get(returned)
        while isinstance(value, Node) and value.operator == "Identity":
            returned = value.inputs[0]
            value = self.values.get(returned)
        return self.loop.inputs[index] if returned == name else None
