"""Models of tfprior are found by `keras.models.load_model`, though nothing has imported their modules yet.

A .keras file names its classes "tfprior>GatedPixelCNN" and so on, and Keras knows such a name once the class
is defined. `import tfprior` defines none, as that would import Keras. Instead every public name has a
`Deferred` entry in Keras's dictionary of custom objects, which the class itself replaces when it is defined:

    import keras, then tfprior      the entries are made at once
    import tfprior, then keras      Keras is imported as ever, and the entries are made when it is complete
    Keras is never imported         nothing happens
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

PACKAGE = "tfprior"
ROOMS = ("layers", "quantizers", "distributions", "priors", "tokenizers", "encoders", "pretraining")
"""Packages whose public names stand in files; each loads its modules on first use."""
CONSTANTS = {"OUTSIDE"}
"""Public names of theirs that are no classes."""
SINGLE = {
    "Generator": "generator",
    "InverseSquareRoot": "training",
    "LabelledImages": "labelled_images",
    "LayerDecayAdamW": "training",
    "MaskedImages": "masked_images",
}
"""Classes that stand in files, and their modules."""


class Deferred:
    """Stands for a class whose module is imported when a file is found to hold one."""

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.__name__ = name

    def load(self) -> Any:
        """The class."""
        return getattr(importlib.import_module(self.module), self.__name__)

    def from_config(self, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """What the class makes of the config: all that Keras asks of an entry."""
        more = [] if custom_objects is None else [custom_objects]
        return self.load().from_config(config, *more)

    def __repr__(self) -> str:
        return f"<{self.module}.{self.__name__}, not imported yet>"


def names() -> dict[str, str]:
    """Public name → module, of all that may stand in files."""
    rooms = {room: importlib.import_module(f"{PACKAGE}.{room}").__all__ for room in ROOMS}
    found = {
        name: room
        for room, public in rooms.items()
        for name in public
        if name[0].isupper() and name not in CONSTANTS
    }
    return {name: f"{PACKAGE}.{module}" for name, module in {**found, **SINGLE}.items()}


def register() -> None:
    """Gives Keras, which is imported, an entry for every name that it does not know yet."""
    from keras.saving import get_custom_objects

    known = get_custom_objects()
    for name, module in names().items():
        known.setdefault(f"{PACKAGE}>{name}", Deferred(module, name))


def register_with_keras() -> None:
    """Registers now where Keras is imported, and else as soon as it is."""
    if sys.modules.get("keras") is not None:
        register()
    elif not any(isinstance(finder, KerasFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, KerasFinder())


class KerasFinder(importlib.abc.MetaPathFinder):
    """Finds Keras where the other finders do, and has `register` called after its import."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != "keras":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            register()

        # On this one spec's loader, which stays what it is: Keras's resources are read through it.
        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
