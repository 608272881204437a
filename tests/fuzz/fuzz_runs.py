"""Damaged run folders: opening and resuming one is refused in one sentence, or gives what it was.

python -m tests.fuzz.fuzz_runs --seed 0 --count 2000

refused   ValueError or OSError of one sentence
right     the weights, the optimizer and the history that were written
changed   the same, of a config.json that says something else where people may edit it
wrong     other weights, another optimizer or another history
raw       another error, or a message that is no sentence
hung      more than ten seconds
"""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfprior.runs import RunFolder, load_run
from tfprior.training import train
from tfprior.training.resuming import opened, resume

from ..small_runs import MODEL, QUIET, made, options
from .mutations import mutated, outcome

STATE = "resume/state-0000000008.npz"
FILES = ("config.json", "metrics.csv", "checkpoint.json", STATE, "best.keras", "last.keras")
KINDS = ("refused", "right", "changed", "wrong", "raw", "hung")


class Damage:
    """A small run in `folder`, what opening and resuming it give, and what they give once it is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "run"
        self.settings = options(epochs=2)
        run = train(made(36), MODEL, self.folder, self.settings, console=QUIET)
        self.config = {name: part for name, part in run.config.items() if name != "result"}
        self.finished = self.files()
        RunFolder(self.folder, self.config).write_config()
        self.unfinished = self.files()
        self.resumed = self.resume()
        self.restore(self.finished)
        self.open_one = self.open()

    def files(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in FILES}

    def restore(self, files: dict[str, bytes]) -> None:
        for name, content in files.items():
            (self.folder / name).write_bytes(content)

    def open(self) -> Any:
        run = load_run(self.folder)
        return run.load().weights_digest(), run.history()

    def resume(self) -> Any:
        """What a run goes on from."""
        with opened(self.folder, self.config, False, self.settings.total_epochs) as run:
            start, state = resume(run)
        assert state is not None
        arrays = {part: [array.tobytes() for array in arrays] for part, arrays in state.arrays.items()}
        return start, {**vars(state), "arrays": arrays}

    def kind_of(self, name: str, content: bytes | None, call: str) -> str:
        """What becomes of opening or resuming, once the file has that content, or none."""
        files, expected, act = {
            "open": (self.finished, self.open_one, self.open),
            "resume": (self.unfinished, self.resumed, self.resume),
        }[call]
        self.restore(files)
        (self.folder / name).unlink() if content is None else (self.folder / name).write_bytes(content)
        kind, found = outcome(act, (ValueError, OSError))
        if kind != "returned":
            return kind
        if found != expected:
            return "wrong"
        return "changed" if name == "config.json" else "right"


def run(seed: int, count: int, report: Callable[[str], Any] = lambda line: None) -> Counter[str]:
    rng, counts = random.Random(seed), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        damage = Damage(Path(folder))
        for number in range(count):
            name, call = FILES[number % len(FILES)], ("open", "resume")[number // len(FILES) % 2]
            content = (damage.finished if call == "open" else damage.unfinished)[name]
            damaged = None if number // len(FILES) % 20 == 19 else mutated(content, rng)
            kind = damage.kind_of(name, damaged, call)
            counts[kind] += 1
            if kind in ("wrong", "raw", "hung"):
                report(f"{number}: {call} with another {name}: {kind}")
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    given = parser.parse_args()
    counts = run(given.seed, given.count, print)
    print(" · ".join(f"{kind} {counts[kind]}" for kind in KINDS))
