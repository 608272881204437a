"""A run that was killed goes on."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from command_line import TINY, epochs_in, run

from tfprior.runs import load_run


def test_a_killed_run_goes_on_from_its_last_epoch(data: Path, tmp_path: Path) -> None:
    out, whole, epochs = tmp_path / "run", tmp_path / "whole", 14
    code = "from tfprior.cli import main; main()"
    command = [sys.executable, "-c", code, "train", *TINY, "--data", data, "--out", out]
    command += ["--levels", "4", "--epochs", str(epochs), "--ema", "0.9", "--flip"]
    command += ["--checkpoint-minutes", "0.0001"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_epochs(process, out / "metrics.csv", 3)
        os.kill(process.pid, signal.SIGKILL)
    killed = epochs_in(out / "metrics.csv")
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(killed) < epochs
    assert load_run(out).result is None
    assert "unfinished" in run("info", out)
    load_run(out).load("last.keras")  # whole, whenever the process was killed

    again = subprocess.run(command, check=True, capture_output=True, text=True)
    going_on = next(line for line in again.stdout.splitlines() if "going on after epoch" in line)
    done = int(going_on.split("epoch ")[1].split()[0])
    assert done in (len(killed), len(killed) - 1)
    assert f"epoch {done + 1}/{epochs}" in again.stdout
    assert f"epoch {done}/{epochs}" not in again.stdout
    rows = epochs_in(out / "metrics.csv")
    assert rows[:done] == killed[:done]
    assert not [path.name for path in out.rglob("*") if path.name.startswith(".")]

    subprocess.run([*command, "--out", whole], check=True, capture_output=True)  # the same to the bit
    assert [{**row, "seconds": ""} for row in rows] == [
        {**row, "seconds": ""} for row in epochs_in(whole / "metrics.csv")
    ]
    for which in ("best.keras", "last.keras"):
        assert load_run(out).load(which).weights_digest() == load_run(whole).load(which).weights_digest()


def wait_for_epochs(process: subprocess.Popen[bytes], file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(epochs_in(file)) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{count} epochs did not come; the process is at {process.poll()}")
