"""The first weights of a run from another one."""

import os
from pathlib import Path
from typing import Any

import keras

from tfprior.float32_copies import with_float32
from tfprior.grid_model import GridModel
from tfprior.runs.model_file import load_model
from tfprior.runs.run_folder import load_run


def take_weights(model: GridModel, initial: str | os.PathLike[str], out: Path) -> dict[str, str]:
    """Gives `model` the best weights of a run, or those in a .keras file: what config.json says of it.

    Raises:
        FileNotFoundError: for a missing file, and a run before its first epoch ended.
        ValueError: for a damaged one, a model of another architecture, and the run that is to be trained.
    """
    path = Path(source_of(initial, out)["path"])
    trained = load_run(path).load() if path.is_dir() else load_model(path)
    if type(trained) is not type(model):
        raise ValueError(
            f"{initial} is a {type(trained).__name__}, and {type(model).__name__} is to be trained; expected "
            "the same architecture."
        )
    # In whatever precision: weights are float32 under every policy.
    before, now = (flat(with_float32(keras.saving.serialize_keras_object(each))) for each in (trained, model))
    changed = [
        f"{name.removesuffix('.')} ({before.get(name)}, now {now.get(name)})"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name) and name not in ("name", "trainable")
    ]
    if changed:
        raise ValueError(
            f"{initial} has another {', '.join(changed)} than what is to be trained; expected the same "
            "architecture."
        )
    model.set_weights(trained.get_weights())
    return {"path": str(path), "digest": model.weights_digest()}


def source_of(initial: str | os.PathLike[str], out: Path) -> dict[str, str]:
    """What a run that goes on is compared by: it needs these weights no more, wherever they are by now.

    Raises:
        ValueError: for the run that is to be trained.
    """
    path = Path(initial).resolve()
    if out.resolve() in (path, *path.parents):
        raise ValueError(f"{initial} is in {out}, where the new run goes; choose another --out.")
    return {"path": str(path)}


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """Nested names and values as "outer.inner" → value; a serialized object is its own options."""
    if isinstance(config, dict) and "config" in config:
        config = {"": config.get("class_name"), **(config["config"] or {})}
    if not isinstance(config, dict):
        return {prefix: config}
    parts = (flat(value, f"{prefix}.{name}" if prefix else name) for name, value in config.items())
    return {name: value for part in parts for name, value in part.items()}
