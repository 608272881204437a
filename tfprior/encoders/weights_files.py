"""Weights of others: files of safetensors with the names that Hugging Face, timm, Facebook or Microsoft have.

Nothing is ever unpickled. Everything is checked before the first weight is assigned.
"""

import os
import re
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401, which teaches NumPy bfloat16
import numpy as np

from tfprior.atomic import atomic_path
from tfprior.encoders.base import Encoder
from tfprior.encoders.classifier import Classifier
from tfprior.encoders.weights_names import SPELLINGS, Spelling
from tfprior.encoders.weights_parts import OF_KIND, Part, parts_of

PICKLED = (".pth", ".pt", ".bin", ".th", ".ckpt", ".pkl", ".pickle", ".tar")
LEFT_OUT = re.compile(
    r"(^|\.)(decoder|pooler|head|classifier)(\.|_|$)|(^|\.)mask_token$|\.(relative_position_index|attn_mask)$"
)
"""Heads, decoders and what is made anew: the parts of published files that are no encoder's."""
SHOWN = 4


def load_safetensors(model: Encoder | Classifier, path: str | os.PathLike[str]) -> list[str]:
    """Takes the weights of a file, whichever of the known spellings it has, and tells what it left out.

    Left out are heads, pooling and decoders, of which an encoder has none; a `Classifier` takes the head.

    Args:
        model: a `ViT`, `Swin`, or `Classifier` of one.
        path: of the file; ViT, DINOv2, MAE, Swin or SimMIM by Hugging Face, timm, Facebook or Microsoft.

    Returns:
        The names of arrays in the file that the model has no place for.

    Raises:
        ValueError: for weights that are missing, unexpected or of another shape, all by name; for positions
            that are not those of an encoder whose positions are fixed; for a file that is damaged, or
            pickled. No weight is then assigned.
        FileNotFoundError: for a missing file.
        ModuleNotFoundError: without the package safetensors.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLED:
        raise ValueError(_conversion(path))
    safetensors = _safetensors()
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            parts, left_out = _matched(model, shapes, path)
            arrays = {name: _floats(file.get_tensor(name), name, path) for names in parts for name in names}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is no whole file of safetensors ({error}); fetch it again.") from None
    found = [(part, [arrays[name] for name in names]) for names, part in parts.items()]
    for part, theirs in found:
        if part.is_fixed and not np.allclose(part.ours(theirs)[0], part.weights[0], atol=1e-2):
            raise ValueError(
                f"{path} has positions that are not sin and cos; load it into a {_kind(model)} with "
                "positions='learned'."
            )
    for part, theirs in found:
        if not part.is_fixed:
            for weight, array in zip(part.weights, part.ours(theirs), strict=True):
                weight.assign(array)
    return left_out


def save_safetensors(
    model: Encoder | Classifier, path: str | os.PathLike[str], names: str = "hugging_face"
) -> None:
    """Writes the weights under the names that others know.

    Args:
        model: a `ViT`, `Swin`, or `Classifier` of one.
        path: of the file.
        names: "hugging_face", "dinov2" for a `ViT` with LayerScale, "microsoft" for a `Swin`, "timm" for
            either, which is Facebook's spelling of ViT too.

    Raises:
        ValueError: for names that are unknown, or that the model has weights without.
        ModuleNotFoundError: without the package safetensors.
    """
    _safetensors()
    from safetensors.numpy import save_file

    encoder, head = _encoder_and_head(model)
    spellings = SPELLINGS[type(encoder)]
    if names not in spellings:
        raise ValueError(f"Unknown names {names!r} for a {_kind(model)}; expected {_either(spellings)}.")
    arrays: dict[str, np.ndarray] = {}
    prefix = "" if head is None else spellings[names].prefix
    for part in parts_of(encoder, head):
        try:
            theirs = part.names(spellings[names], prefix)
        except KeyError as error:
            raise ValueError(
                f"names={names!r} has none for {error.args[0]}, which this {_kind(model)} has; expected one "
                f"of {_either(spellings)} that does."
            ) from None
        arrays |= {
            name: np.ascontiguousarray(array)
            for name, array in zip(theirs, part.theirs(len(theirs)), strict=True)
        }
    with atomic_path(path) as temporary:
        save_file(arrays, temporary, metadata={"format": "pt"})


def _matched(
    model: Encoder | Classifier, shapes: dict[str, tuple[int, ...]], path: Path
) -> tuple[dict[tuple[str, ...], Part], list[str]]:
    """Parts by the names that they have in the file, and the names that are left out."""
    encoder, head = _encoder_and_head(model)
    parts = parts_of(encoder, head)
    named = max(
        (_named(parts, *spelling) for spelling in _spellings_in(type(encoder), shapes)),
        key=lambda named: sum(name in shapes for names in named for name in names),
        default=None,
    )
    if named is None:
        raise ValueError(
            f"{path} holds no {_kind(model)} by any of the known names; its arrays are {_few(shapes)}."
        )
    optional = {names for names, part in named.items() if part.is_fixed and names[0] not in shapes}
    named = {names: part for names, part in named.items() if names not in optional}
    expected: dict[str, tuple[int, ...]] = {}
    for names, part in named.items():
        expected |= {name: array.shape for name, array in zip(names, part.theirs(len(names)), strict=True)}
    rest = [name for name in shapes if name not in expected]
    left_out = [name for name in rest if LEFT_OUT.search(name)]
    complaints = {
        "lacks": [name for name in expected if name not in shapes],
        "has besides": [name for name in rest if name not in left_out],
        "has of another shape": [
            f"{name} {shapes[name]}, here {shape}"
            for name, shape in expected.items()
            if name in shapes and shapes[name] != shape
        ],
    }
    if any(complaints.values()):
        told = "; ".join(f"{what} {_few(found)}" for what, found in complaints.items() if found)
        raise ValueError(f"{path} is of another {_kind(model)}: it {told}. {_remedy(complaints)}")
    return named, left_out


def _remedy(complaints: dict[str, list[str]]) -> str:
    shapes = complaints["has of another shape"]
    if len(shapes) == 1 and re.search(r"pos(ition)?_embed", shapes[0]) and not complaints["lacks"]:
        return "Load it into one for images of its size, and call resize_positions."
    return "Build the encoder with its sizes."


def _spellings_in(kind: type[Encoder], shapes: dict[str, tuple[int, ...]]) -> list[tuple[Spelling, str]]:
    """Those whose name of the patches' weight is in the file, each with what stands in front of it."""
    found = []
    for spelling in SPELLINGS[kind].values():
        last = f"{spelling.names['patches']}.weight"
        found += [
            (spelling, name.removesuffix(last))
            for name in shapes
            if name == last or name.endswith(f".{last}")
        ]
    return found


def _named(parts: list[Part], spelling: Spelling, prefix: str) -> dict[tuple[str, ...], Part]:
    """Roles that the spelling has no name for are called by themselves, which no file has."""
    names = {**{role: role for part in parts for role in part.roles}, **spelling.names}
    every = Spelling(names, spelling.prefix)
    return {tuple(part.names(every, prefix)): part for part in parts}


def _floats(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    if array.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise ValueError(f"{path} has {name} as {array.dtype}; expected floats.")
    return array.astype("float32")


def _encoder_and_head(model: Any) -> tuple[Encoder, Any]:
    encoder, head = (model.encoder, model.head) if isinstance(model, Classifier) else (model, None)
    if type(encoder) not in OF_KIND:
        raise ValueError(
            f"Got a {type(model).__name__}; expected a {' or '.join(kind.__name__ for kind in OF_KIND)}, or "
            "a Classifier of one."
        )
    return encoder, head


def _kind(model: Any) -> str:
    return type(_encoder_and_head(model)[0]).__name__


def _either(names: Any) -> str:
    return ", ".join(names)


def _few(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _safetensors() -> Any:
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
