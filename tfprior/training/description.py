"""What a run's config.json says of it, and how two of them differ."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tfprior import __version__
from tfprior.data import Images
from tfprior.grid_model import GridModel
from tfprior.runs.config import SCHEMA_VERSION
from tfprior.score import Score

LENGTHS = ("epochs", "minutes")  # which a finished run may have more of
FREE = ("checkpoint_minutes", "pictures_every")  # which change nothing of what a run becomes


def describe(
    images: Images,
    model: Mapping[str, Any],
    options: Mapping[str, Any],
    source: Mapping[str, Any] | None,
    untrained: GridModel,
    initial: dict[str, str] | None,
) -> dict[str, Any]:
    """The configuration of a run, in JSON's types."""
    origin = images.origin
    score = untrained.scores[0]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": untrained.kind,
        "data": {
            **(source or {"name_or_path": images.name}),
            "grid_shape": list(images.grid_shape),
            "levels": images.num_levels,
            "images": len(images.x_train),
            **({"class_names": list(images.class_names)} if images.class_names else {}),
            **({"codes_of": origin and origin.told()} if images.are_codes else {}),
        },
        "model": {**model, "parameters": untrained.count_params()},
        "score": (score.per_code() if images.are_codes else score).get_config(),
        "options": dict(options),
        "versions": {
            "tfprior": __version__,
            "keras": keras.__version__,
            keras.backend.backend(): backend_version(),
            "numpy": np.__version__,
            "python": sys.version.split()[0],
        },
        "initial": initial,
    }


def differences(before: dict[str, Any], now: dict[str, Any], but: tuple[str, ...] = ()) -> list[str]:
    """Names of what differs in kind, data, model, options and initial weights, as "name (before, now after)".

    What `but` names may differ.
    """
    return [
        f"{name} ({short(old.get(name))}, now {short(new.get(name))})"
        for old, new in zip(parts(before), parts(now), strict=True)
        for name in sorted({*old, *new})
        if name not in (*but, *FREE) and old.get(name) != new.get(name)
    ]


def short(value: Any) -> str:
    return " ".join(str(value).split())[:80]


def parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    # As it is read: those of before told no direction.
    score = config.get("score") and Score.from_config(config["score"]).get_config()
    kind = {"kind": config.get("kind"), "score": score}
    options = {"precision": "float32", **config["options"]}  # which those of before did not tell either
    return [kind, config["data"], config["model"], options, initial_path(config.get("initial"))]


def initial_path(initial: dict[str, str] | None) -> dict[str, Any]:
    """Its weights may have gone on changing since."""
    return {"initial": initial["path"]} if initial else {}


def backend_version() -> str:
    """As the module tells it: its package may have another name, as tensorflow-cpu has."""
    return str(importlib.import_module(keras.backend.backend()).__version__)
