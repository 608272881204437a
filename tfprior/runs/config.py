"""What a run's config.json holds, checked when it is read."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1
KINDS = ("prior", "tokenizer", "encoder", "classifier", "model")


def integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def number(value: Any) -> bool:
    return integer(value) or (isinstance(value, float) and math.isfinite(value))


def words(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(integer(size) and size > 0 for size in value)


def text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(name, str) for name in value))


def size(value: Any) -> bool:
    return (
        value is None or integer(value) or (isinstance(value, list) and all(integer(each) for each in value))
    )


def origin(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) - {"grid", "num_grids"} == {"tokenizer", "digest", "images"}
        and text(value["tokenizer"])
        and text(value["digest"])
        and isinstance(value["images"], dict)
        and all(integer(value.get(name, 0)) for name in ("grid", "num_grids"))
        and 0 <= value.get("grid", 0) < value.get("num_grids", 1)
    )


def positive(value: Any) -> bool:
    return integer(value) and value > 0


def not_negative(value: Any) -> bool:
    return integer(value) and value >= 0


def direction(value: Any) -> bool:
    return value in ("min", "max")


def share(value: Any) -> bool:
    return number(value) and 0 < value < 1


def scores(value: Any) -> bool:
    return isinstance(value, dict) and all(number(each) for each in value.values())


Check = Callable[[Any], bool]
# What every run holds, and what some hold besides; other entries are free.
NEEDED: dict[str, dict[str, tuple[Check, str]]] = {
    "data": {
        "name_or_path": (text, "text"),
        "grid_shape": (shape, "three sizes"),
        "levels": (positive, "a positive integer"),
        "images": (positive, "a positive integer"),
    },
    "model": {"name": (text, "text"), "parameters": (not_negative, "an integer from 0")},
    "options": {
        "validation_fraction": (share, "a number between 0 and 1"),
        "validation_limit": (positive, "a positive integer"),
        "batch_size": (positive, "a positive integer"),
        "seed": (not_negative, "an integer from 0"),
    },
    "score": {"name": (text, "text"), "unit": (text, "text")},
    "result": {
        "epochs": (positive, "a positive integer"),
        "seconds": (number, "a number"),
        "best_epoch": (positive, "a positive integer"),
        "baselines": (scores, "numbers by name"),
    },
    "initial": {"path": (text, "text"), "digest": (text, "text")},
}
OPTIONAL: dict[str, dict[str, tuple[Check, str]]] = {
    "score": {"better": (direction, "min or max")},
    "data": {
        "image_size": (size, "a size"),
        "num_levels": (size, "an integer"),
        "cache": (text, "a path"),
        "class_names": (names, "a list of names"),
        "codes_of": (origin, "where the codes come from"),
    },
}


@dataclass(frozen=True)
class RunConfig:
    """The sections of config.json.

    Attributes:
        kind: "prior", "tokenizer", "encoder", "classifier", or "model" of what is none of them.
        data: `name_or_path` and other arguments of `load`, grid_shape, levels, images; of codes `codes_of`.
        model: its name, its options and its number of parameters.
        score: name and unit of what says which epoch is the best, and whether its "min" or "max" is better.
        options: of the training.
        versions: of the libraries.
        initial: path and digest of the model whose weights were the first ones; None for random ones.
        result: of a finished run.
    """

    kind: str
    data: dict[str, Any]
    model: dict[str, Any]
    score: dict[str, str]
    options: dict[str, Any]
    versions: dict[str, str]
    initial: dict[str, str] | None = None
    result: dict[str, Any] | None = None

    @classmethod
    def checked(cls, told: Any, file: Path) -> "RunConfig":
        """The sections of what was read from `file`.

        Raises:
            ValueError: for what is missing, of a wrong type, or from a newer version.
        """
        if not isinstance(told, dict):
            raise damaged(file, f"holds a {type(told).__name__}; expected the sections of a run")
        version: Any = told.get("schema_version")
        if integer(version) and version > SCHEMA_VERSION:
            raise ValueError(
                f"{file} has schema_version {short(version)} and this tfprior reads up to {SCHEMA_VERSION}; "
                "install a newer one."
            )
        known = [field.name for field in fields(cls)]
        missing = [name for name in ("schema_version", *known[:-2]) if told.get(name) is None]
        if missing:
            raise damaged(file, f"lacks {', '.join(missing)}")
        if not integer(version) or version < 1:
            raise damaged(file, f"has schema_version {short(version)}; expected {SCHEMA_VERSION}")
        if told["kind"] not in KINDS:
            raise damaged(file, f"has kind {short(told['kind'])}; expected one of {', '.join(KINDS)}")
        unknown = sorted(set(told) - {*known, "schema_version"})
        if unknown:
            raise damaged(file, f"holds {short(unknown[0])}, which is no section of a run")
        for section in known[1:]:
            if told.get(section) is not None:
                check_section(section, told[section], file)
        score = f"best_{told['score']['name']}"
        if told.get("result") and not number(told["result"].get(score)):
            raise damaged(file, f"has no number as {score} of result")
        return cls(**{name: told[name] for name in known if name in told})


def check_section(section: str, told: Any, file: Path) -> None:
    if section == "versions":
        if not words(told):
            raise damaged(file, "has other versions than words by name")
        return
    if not isinstance(told, dict):
        raise damaged(file, f"has {type(told).__name__} as {section}; expected names and values")
    needed, optional = NEEDED[section], OPTIONAL.get(section, {})
    missing = [name for name in needed if name not in told]
    if missing:
        raise damaged(file, f"lacks {', '.join(missing)} of {section}")
    for name, (is_right, expected) in {**needed, **optional}.items():
        if name in told and not is_right(told[name]):
            raise damaged(file, f"has {name} {short(told[name])} of {section}; expected {expected}")


def short(value: Any) -> str:
    return repr(value)[:100]


def damaged(file: Path, what: str) -> ValueError:
    return ValueError(f"{file} {what}: restore it, or train again.")


def read_config(file: Path) -> dict[str, Any]:
    """The sections of config.json by name, checked.

    Raises:
        ValueError: for a damaged file.
    """
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise damaged(file, f"is damaged ({' '.join(str(error).split())[:200]})") from error
    RunConfig.checked(told, file)
    return dict(told)
