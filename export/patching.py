"""Other code in the place of a library's, for a while."""

import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Patch:
    """Replaces one function of a library while it is in force.

    Attributes:
        target: what is replaced, as "package.module:Class.name" or "package.module:name".
        reason: what is wrong or slow without it.
        replacement: makes what stands in its place from the original.
        version: of the library, major and minor, whose code was read for it.
    """

    target: str
    reason: str
    replacement: Callable[[Any], Any]
    version: str = "1.17"

    @contextmanager
    def in_force(self) -> Iterator[None]:
        module, _, path = self.target.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module)
        for part in owners:
            owner = getattr(owner, part)
        original = vars(owner)[name]  # what getattr gives would lose that it is a static method
        setattr(owner, name, self.replacement(getattr(owner, name)))
        try:
            yield
        finally:
            setattr(owner, name, original)


@contextmanager
def in_force(patches: Iterable[Patch]) -> Iterator[None]:
    """All the patches; each is put back, whatever happens in between."""
    with ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch.in_force())
        yield
