"""Arrays of safetensors by name, in one file or in the parts that an index tells of; nothing is unpickled."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401, which teaches NumPy bfloat16
import numpy as np

INDEX = ".index.json"
PICKLED = (".pth", ".pt", ".bin", ".th", ".ckpt", ".pkl", ".pickle", ".tar")
FLOATS = ("float16", "bfloat16", "float32", "float64")


class StoredArrays:
    """Shapes by name, and the arrays of names as float32."""

    def __init__(self, path: Path, files: dict[str, Any]) -> None:
        self.path = path
        self._files = files
        self.shapes = {name: tuple(file.get_slice(name).get_shape()) for name, file in files.items()}

    def read(self, name: str) -> np.ndarray:
        """Raises ValueError for integers."""
        array: np.ndarray = self._files[name].get_tensor(name)
        if array.dtype.name not in FLOATS:
            raise ValueError(f"{self.path} has {name} as {array.dtype}; expected floats.")
        return array.astype("float32")


@contextlib.contextmanager
def stored_arrays(path: Path) -> Iterator[StoredArrays]:
    """Those of a file, or of all parts that a model.safetensors.index.json names.

    Raises:
        ValueError: for a file that is damaged, or pickled.
        FileNotFoundError: for a missing file, or part.
        ModuleNotFoundError: without the package safetensors.
    """
    if path.suffix.lower() in PICKLED:
        raise ValueError(_conversion(path))
    safetensors = import_safetensors()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    names_in = parts_in(path) if path.name.endswith(INDEX) else {path: None}
    opened = path
    try:
        with contextlib.ExitStack() as stack:
            files: dict[str, Any] = {}
            for opened, names in names_in.items():
                file = stack.enter_context(safetensors.safe_open(opened, framework="numpy"))
                held = set(file.keys())
                if missing := sorted(set(names or ()) - held):
                    raise ValueError(
                        f"{opened} lacks {missing[0]}, which {path.name} places there; fetch both again."
                    )
                files |= dict.fromkeys(names or sorted(held), file)
            yield StoredArrays(path, files)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{opened} is no whole file of safetensors ({error}); fetch it again.") from None


def parts_in(index: Path) -> dict[Path, list[str]]:
    """The files beside an index that hold arrays, and the names of these."""
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names_in: dict[Path, list[str]] = {}
        for name, file in places.items():
            if Path(file).name != file:
                raise ValueError(f"it places arrays in {file}")
            names_in.setdefault(index.parent / file, []).append(name)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{index} is no index of safetensors ({' '.join(str(error).split())[:100]}); fetch it again."
        ) from None
    for part in names_in:
        if not part.is_file():
            raise FileNotFoundError(
                f"There is no file {part}, in which {index.name} places arrays; fetch it too."
            )
    return names_in


def import_safetensors() -> Any:
    """The package, or ModuleNotFoundError that names the extra."""
    try:
        import safetensors
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "Weights of others need the package safetensors: pip install 'tfprior[weights]'.", name=error.name
        ) from error
    return safetensors


def _conversion(path: Path) -> str:
    return (
        f"{path} is pickled and could run programs: it is not opened. Where PyTorch is installed, these two "
        "lines make of it a file that is:\n"
        f"    weights = torch.load({str(path)!r}, map_location='cpu', weights_only=True)\n"
        "    safetensors.torch.save_file({name: x.contiguous() for name, x in weights.get('model', "
        f"weights).items()}}, {str(path.with_suffix('.safetensors'))!r})"
    )
