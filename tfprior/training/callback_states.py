"""What callbacks remember from one epoch to the next."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import keras
import numpy as np

REMEMBERED: dict[type[keras.callbacks.Callback], tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("best", "wait", "best_epoch", "stopped_epoch", "best_weights"),
    keras.callbacks.ModelCheckpoint: ("best",),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
}
"""Names of Keras's attributes; of version 3.15, which setup.cfg asks for."""


@runtime_checkable
class Remembers(Protocol):
    """A callback that tells what it remembers, in types of JSON."""

    def get_state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any]) -> None: ...


def states_of(callbacks: Iterable[keras.callbacks.Callback]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """What callbacks remember, as a `TrainingState` has it: in types of JSON, and arrays by part."""
    told: list[dict[str, Any]] = []
    parts: dict[str, Any] = {}
    for callback in callbacks:
        if isinstance(callback, Remembers) or names_of(callback):
            state, arrays = state_of(callback)
            parts[part_of(len(told))] = arrays
            told.append({"callback": type(callback).__name__, "state": state})
    return told, {part: arrays for part, arrays in parts.items() if arrays}


def set_states(
    callbacks: Iterable[keras.callbacks.Callback], told: Sequence[Mapping[str, Any]], parts: Mapping[str, Any]
) -> None:
    """Has callbacks remember what those of the same class, in the same order, told."""
    left = list(enumerate(told))
    for callback in callbacks:
        found = next((each for each in left if each[1]["callback"] == type(callback).__name__), None)
        if found is not None:
            left.remove(found)
            set_state(callback, found[1]["state"], parts.get(part_of(found[0]), ()))


def part_of(index: int) -> str:
    return f"callback {index}"


def state_of(callback: keras.callbacks.Callback) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What a callback remembers: in types of JSON, and its lists of arrays one after the other."""
    if isinstance(callback, Remembers):
        return callback.get_state(), []
    state: dict[str, Any] = {}
    arrays: list[np.ndarray] = []
    for name in names_of(callback):
        value = getattr(callback, name, None)
        if isinstance(value, list):
            state[name] = {"arrays": len(value)}
            arrays += map(np.asarray, value)
        else:
            state[name] = value if value is None or isinstance(value, bool | int) else float(value)
    return state, arrays


def set_state(
    callback: keras.callbacks.Callback, state: Mapping[str, Any], arrays: Sequence[np.ndarray]
) -> None:
    """Has a callback remember what `state_of` gave."""
    if isinstance(callback, Remembers):
        callback.set_state(state)
        return
    left = list(arrays)
    for name in names_of(callback):
        value = state.get(name)
        if isinstance(value, Mapping):
            count = int(value["arrays"])
            value, left = left[:count], left[count:]
        setattr(callback, name, value)


def names_of(callback: keras.callbacks.Callback) -> list[str]:
    return [name for kind, names in REMEMBERED.items() if isinstance(callback, kind) for name in names]
