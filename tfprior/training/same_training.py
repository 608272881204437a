"""Whether a state is of the training that is to go on from it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfprior.resumable_dataset import ResumableDataset

VARYING = ("name", "learning_rate")
"""What a config may differ in: a schedule changes rates, and Keras counts the models of a process."""

DIGESTS = ("architecture", "settings of the optimizer", "data")


def training_of(model: Any, data: ResumableDataset, seed: int) -> dict[str, Any]:
    """What is trained, and how, by names that tell what differs."""
    return {
        "model": type(model).__name__,
        "architecture": digest_of(model.get_config()),
        "optimizer": type(model.optimizer).__name__,
        "settings of the optimizer": digest_of(model.optimizer.get_config()),
        "data": data.digest,
        "steps_per_epoch": data.steps_per_epoch,
        "seed": seed,
    }


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], path: Path) -> None:
    """Raises ValueError, which names what differs."""
    changed = [
        name if name in DIGESTS else f"{name} ({before.get(name)}, now {now[name]})"
        for name in now
        if before.get(name) != now[name]
    ]
    if changed:
        raise ValueError(
            f"{path} holds the state of another training: another {', '.join(changed)}; train as before to "
            "go on, or choose another folder."
        )


def digest_of(config: Any) -> str:
    told = json.dumps(lasting(config), sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def lasting(config: Any) -> Any:
    """The config without what varies."""
    if isinstance(config, Mapping):
        return {name: lasting(value) for name, value in config.items() if name not in VARYING}
    return [lasting(value) for value in config] if isinstance(config, list | tuple) else config
