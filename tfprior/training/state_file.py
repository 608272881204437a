"""The files that training goes on from.

state-0000001200.npz   after 1200 steps: the arrays of every part, and `about`, in JSON

A file knows its own SHA-256. Two are kept: one that is damaged costs what was trained since the one before.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from tfprior.atomic import atomic_path
from tfprior.data.arrays import read_npz

FORMAT, VERSION = "tfprior.training_state", 1
NAME = re.compile(r"state-(\d{10,})\.npz")
KEPT = 2


@dataclass(frozen=True)
class TrainingState:
    """What training goes on from.

    Attributes:
        step: steps that are done.
        steps_per_epoch: of which an epoch has so many.
        arrays: of variables and of callbacks, by part.
        history: scores of the epochs that are done, by name.
        callbacks: what they remember beside arrays, in their order: {"callback": its class, "state": …}.
        training: what is trained, and how.
        stopped: whether a callback ended it before its last epoch.
    """

    step: int
    steps_per_epoch: int
    arrays: Mapping[str, Sequence[np.ndarray]]
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    callbacks: Sequence[Mapping[str, Any]] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    stopped: bool = False

    @property
    def epoch(self) -> int:
        """Epochs that are done."""
        return self.step // self.steps_per_epoch

    @property
    def steps_of_epoch(self) -> int:
        """Steps that are done of the epoch under way."""
        return self.step % self.steps_per_epoch

    def remembered(self, callback: str) -> Mapping[str, Any] | None:
        """What the first callback of that class remembers; None where there was none."""
        return next((told["state"] for told in self.callbacks if told["callback"] == callback), None)

    def write(self, folder: Path) -> None:
        """Writes its file, and deletes those of before but the last.

        Raises:
            OSError: where it cannot be written; the others stay.
        """
        with atomic_path(folder / f"state-{self.step:010}.npz") as temporary, temporary.open("wb") as stream:
            self.write_to(stream)
        for file in files_in(folder):
            if step_of(file) > self.step:  # which could not be read, or training began anew
                file.unlink()
        keep_newest(folder, KEPT)

    def write_to(self, stream: IO[bytes]) -> None:
        """Writes what a file of it holds."""
        named = {
            f"{part}/{index:05}": np.asarray(array)
            for part, arrays in self.arrays.items()
            for index, array in enumerate(arrays)
        }
        # NumPy's files know no bfloat16.
        kinds = {name: array.dtype.name for name, array in named.items() if array.dtype.kind == "V"}
        named |= {name: named[name].view("uint16") for name in kinds}
        about = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "arrays"}
        about |= {"format": FORMAT, "version": VERSION, "kinds": kinds, "parts": list(self.arrays)}
        about["sha256"] = digest(about, named)
        told = np.frombuffer(json.dumps(about).encode(), "uint8")
        np.savez(stream, allow_pickle=False, about=told, **named)


def read_state(file: Path) -> TrainingState:
    """The state that a file holds.

    Raises:
        ValueError: for a damaged file, and one of a newer version.
    """
    arrays = read_npz(file, remedy="delete it")
    try:
        about = json.loads(bytes(arrays.pop("about")))
        version, told = about["version"], about.pop("sha256")
        if about["format"] != FORMAT or not isinstance(version, int):
            raise ValueError("it is of another format")
        if version <= VERSION:
            if told != digest(about, arrays):
                raise ValueError("it has changed since it was written")
            parts: dict[str, list[np.ndarray]] = {part: [] for part in about["parts"]}
            for name in sorted(arrays):
                kind = about["kinds"].get(name, arrays[name].dtype)
                parts[name.split("/")[0]].append(arrays[name].view(kind))
            known = {each.name: about[each.name] for each in fields(TrainingState) if each.name != "arrays"}
            return TrainingState(arrays=parts, **known)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"{file} is damaged ({' '.join(str(error).split())[:200]}); delete it.") from error
    raise ValueError(f"{file} has version {version} and this tfprior reads up to {VERSION}; upgrade it.")


def newest_state(folder: Path) -> TrainingState | None:
    """The last state that can be read, with a warning where it is not the last of all; None without any.

    Raises:
        ValueError: where none of several can be read.
    """
    faults = []
    for file in files_in(folder):
        try:
            state = read_state(file)
        except ValueError as error:
            faults.append(str(error))
        else:
            for fault in faults:
                warnings.warn(f"{fault} Going on from {file.name}, the one before.", stacklevel=2)
            return state
    if faults:
        raise ValueError(f"{faults[0]} No other state in {folder} can be read: train anew.")
    return None


def keep_newest(folder: Path, count: int) -> None:
    for file in files_in(folder)[count:]:
        file.unlink()


def files_in(folder: Path) -> list[Path]:
    """The files of states, the newest first."""
    return sorted((file for file in folder.glob("state-*.npz") if NAME.fullmatch(file.name)), key=step_of)[
        ::-1
    ]


def step_of(file: Path) -> int:
    found = NAME.fullmatch(file.name)
    assert found is not None
    return int(found[1])


def digest(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of what a file holds."""
    sha = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        sha.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        sha.update(np.ascontiguousarray(arrays[name]).data)
    return sha.hexdigest()
