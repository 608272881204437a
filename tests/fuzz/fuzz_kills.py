"""Runs that are killed at random moments, checkpoints half-written among them, end as if they had not been.

python -m tests.fuzz.fuzz_kills --seed 0 --count 25
python -m tests.fuzz.fuzz_kills --count 6 --mirrored      # two replicas

Every start of a run is killed with SIGKILL until there were so many: by turns at a random moment after it has
begun to write, and while a file is half-written. The last one goes on to the end. Weights, optimizer,
averages, noise and scores have to be those of a run that nobody killed, bit for bit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfprior.atomic import TEMPORARY
from tfprior.runs import load_run
from tfprior.training.state_file import newest_state

COMMAND = (
    *("train", "gated_pixel_cnn", "--filters", "4", "--layers", "1", "--dropout", "0.5", "--data", "digits"),
    *("--ema", "0.9", "--flip", "--batch-size", "64", "--checkpoint-minutes", "0.001"),
)


ALONE = "from tfprior.cli import main; main()"
MIRRORED = """
import sys, tensorflow as tf, tfprior.training
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tfprior.training.strategy_named = lambda name: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
from tfprior.cli import main
sys.argv += ["--strategy", "mirrored"]
main()
"""


def start(out: Path, epochs: int, program: str) -> "subprocess.Popen[bytes]":
    arguments = [sys.executable, "-c", program, *COMMAND, "--epochs", str(epochs), "--out", str(out)]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def newest_step(out: Path) -> str:
    """Of the last state that the folder holds, by its name."""
    return max((file.name for file in (out / "resume").glob("state-*")), default="")


def half_written(out: Path) -> bool:
    return any(name.startswith(TEMPORARY) for folder in (out, out / "resume") for name in os.listdir(folder))


def kill_after_progress(out: Path, epochs: int, program: str, seconds: float | None) -> bool:
    """Goes on with a run until it has written, and so many seconds more, or until it writes again.

    False where it ended before.
    """
    before = newest_step(out)
    with start(out, epochs, program) as process:
        while process.poll() is None and newest_step(out) == before:
            time.sleep(0.005)
        if seconds is None:
            while process.poll() is None and not half_written(out):
                pass
        else:
            time.sleep(seconds)
        ended = process.poll()
        process.send_signal(signal.SIGKILL)
        assert process.stderr is not None
        told = process.stderr.read().decode()
    assert ended in (None, 0), told[-2000:]
    return ended is None


def everything(out: Path) -> dict[str, Any]:
    """All that a run came to, but for the seconds."""
    run = load_run(out)
    state = newest_state(out / "resume")
    assert state is not None
    return {
        "step": state.step,
        "arrays": {part: [array.tobytes() for array in arrays] for part, arrays in state.arrays.items()},
        "history": [{**row, "seconds": 0} for row in run.history()],
        "models": [run.load(which).weights_digest() for which in ("best.keras", "last.keras")],
        "result": {**(run.result or {}), "seconds": 0},
    }


def run(
    seed: int, count: int, epochs: int, report: Callable[[str], Any], program: str = ALONE
) -> tuple[int, bool]:
    """How often a run was killed, and whether it came to the same."""
    rng, kills = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        whole, out = Path(folder) / "whole", Path(folder) / "run"
        assert start(whole, epochs, program).wait() == 0
        while kills < count:
            seconds = rng.uniform(0, 1.5) if kills % 2 else None
            if not kill_after_progress(out, epochs, program, seconds):
                break
            kills += 1
            report(f"killed at {newest_step(out)}, {len(list(out.rglob('.writing-*')))} files half-written")
        assert start(out, epochs, program).wait() == 0
        return kills, everything(out) == everything(whole)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=25)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--mirrored", action="store_true")
    given = parser.parse_args()
    kills, is_same = run(given.seed, given.count, given.epochs, print, MIRRORED if given.mirrored else ALONE)
    print(f"killed {kills} times: {'the same, bit for bit' if is_same else 'NOT THE SAME'}")
    sys.exit(0 if is_same and kills == given.count else 1)
