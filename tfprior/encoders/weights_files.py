"""Weights of others: files of safetensors with the names that Hugging Face, timm, Facebook or Microsoft have.

Everything is checked before the first weight is assigned.
"""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.atomic import atomic_path
from tfprior.encoders.base import Encoder
from tfprior.encoders.weights_names import SPELLINGS, Spelling
from tfprior.encoders.weights_parts import OF_KIND, AroundEncoder, Part, parts_of
from tfprior.encoders.weights_reading import import_safetensors, stored_arrays

LEFT_OUT = re.compile(
    r"(^|\.)(decoder|pooler|head|classifier)(\.|_|$)|(^|\.)mask_token$|\.(relative_position_index|attn_mask)$"
)
"""Heads, decoders and what is made anew: the parts of published files that are no encoder's."""
SHOWN = 4


def load_safetensors(model: Encoder | AroundEncoder, path: str | os.PathLike[str]) -> list[str]:
    """Takes the weights of a file, whichever of the known spellings it has, and tells what it left out.

    Left out are heads, pooling and decoders, of which an encoder has none. A `Classifier` takes the head, an
    `MAE` its decoder, a `SimMIM` its mask token and head.

    Args:
        model: a `ViT`, a `Swin`, or a `Classifier`, `MAE` or `SimMIM` of one.
        path: of the file; ViT, DINOv2, MAE, Swin or SimMIM by Hugging Face, timm, Facebook or Microsoft. Of
            weights in several files, the model.safetensors.index.json that Hugging Face writes beside them.

    Returns:
        The names of arrays in the file that the model has no place for.

    Raises:
        ValueError: for weights that are missing, unexpected or of another shape, all by name; for positions
            that are not those of an encoder whose positions are fixed; for a file that is damaged, or
            pickled. No weight is then assigned.
        FileNotFoundError: for a missing file, or one of several.
        ModuleNotFoundError: without the package safetensors.
    """
    path = Path(path)
    with stored_arrays(path) as stored:
        parts, left_out = _matched(model, stored.shapes, path)
        arrays = {name: stored.read(name) for names in parts for name in names}
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
    model: Encoder | AroundEncoder, path: str | os.PathLike[str], names: str = "hugging_face"
) -> None:
    """Writes the weights under the names that others know.

    Args:
        model: a `ViT`, a `Swin`, or a `Classifier`, `MAE` or `SimMIM` of one.
        path: of the file.
        names: "hugging_face", "dinov2" for a `ViT` with LayerScale, "microsoft" for a `Swin`, "timm" for
            either, which is Facebook's spelling of ViT too.

    Raises:
        ValueError: for names that are unknown, or that the model has weights without.
        ModuleNotFoundError: without the package safetensors.
    """
    import_safetensors()
    from safetensors.numpy import save_file

    encoder, around = _parts(model)
    spellings = SPELLINGS[type(encoder)]
    if names not in spellings:
        raise ValueError(f"Unknown names {names!r} for a {_kind(model)}; expected {_either(spellings)}.")
    arrays: dict[str, np.ndarray] = {}
    prefix = spellings[names].prefix if around else ""
    for part in _all_parts(encoder, around):
        try:
            theirs = part.names(spellings[names], prefix, "")
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
    model: Encoder | AroundEncoder, shapes: dict[str, tuple[int, ...]], path: Path
) -> tuple[dict[tuple[str, ...], Part], list[str]]:
    """Parts by the names that they have in the file, and the names that are left out."""
    encoder, around = _parts(model)
    parts = _all_parts(encoder, around)
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
        outside = {name for names, part in named.items() if part.is_around for name in names}
        raise ValueError(f"{path} is of another {_kind(model)}: it {told}. {_remedy(complaints, outside)}")
    return named, left_out


def _remedy(complaints: dict[str, list[str]], outside: set[str]) -> str:
    missing, *others = complaints.values()
    if set(missing) and set(missing) <= outside and not any(others):
        return "It holds the encoder alone: load it into model.encoder."
    if any(re.search(r"(^|\.)fc_norm\.", name) for name in complaints["has besides"]):
        return "Load it into a Classifier with pooling='mean_then_norm'."
    if any(re.search(r"(^|\.)reg(ister)?_tokens?$", name) for name in complaints["has besides"]):
        return "A ViT has no register tokens; choose weights without them."
    shapes = complaints["has of another shape"]
    if len(shapes) == 1 and re.search(r"pos(ition)?_embed", shapes[0]) and not complaints["lacks"]:
        return "Load it into one for images of its size, and call resize_positions."
    return "Build the encoder with its sizes."


def _spellings_in(kind: type[Encoder], shapes: dict[str, tuple[int, ...]]) -> list[tuple[Spelling, str, str]]:
    """Those whose name of the patches' weight is in the file, each with what stands in front of it.

    And in front of what is around the encoder: the same but the name that the encoder has there.
    """
    found = []
    for spelling in SPELLINGS[kind].values():
        last = f"{spelling.names['patches']}.weight"
        for name in shapes:
            if name == last or name.endswith(f".{last}"):
                prefix = name.removesuffix(last)
                around = (prefix.removesuffix(spelling.prefix), prefix.removesuffix("encoder."))
                found += [(spelling, prefix, outer) for outer in dict.fromkeys(around)]
    return found


def _named(parts: list[Part], spelling: Spelling, prefix: str, outer: str) -> dict[tuple[str, ...], Part]:
    """Roles that the spelling has no name for are called by themselves, which no file has."""
    names = {**{role: role for part in parts for role in part.roles}, **spelling.names}
    every = Spelling(names, spelling.prefix)
    return {tuple(part.names(every, prefix, outer)): part for part in parts}


def _parts(model: Any) -> tuple[Encoder, list[Part]]:
    """The encoder, and the parts of what is around it."""
    encoder = getattr(model, "encoder", model)
    if type(encoder) not in OF_KIND or not isinstance(model, Encoder | AroundEncoder):
        raise ValueError(
            f"Got a {type(model).__name__}; expected a {' or '.join(kind.__name__ for kind in OF_KIND)}, or "
            "a Classifier, MAE or SimMIM of one."
        )
    return encoder, [] if model is encoder else list(model.parts_around())


def _all_parts(encoder: Encoder, around: list[Part]) -> list[Part]:
    """Those of the encoder that are not named otherwise by what is around it, and these."""
    renamed = {id(weight) for part in around for weight in part.weights}
    return [*(part for part in parts_of(encoder) if id(part.weights[0]) not in renamed), *around]


def _kind(model: Any) -> str:
    return type(getattr(model, "encoder", model)).__name__


def _either(names: Any) -> str:
    return ", ".join(names)


def _few(names: Any) -> str:
    names = list(names)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
