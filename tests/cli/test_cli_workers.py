"""Two workers train one run; one of them is killed, and the same commands go on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import TINY, epochs_in, run

from tfprior.runs import load_run

CODE = """
import json, os, subprocess, sys

config = {"cluster": {"worker": ["127.0.0.1:20001", "127.0.0.1:20002"]}, "task": {"type": "worker"}}
workers = []
for index in range(2):
    config["task"]["index"] = index
    told = {**os.environ, "TF_CONFIG": json.dumps(config)}
    command = [sys.executable, "-c", "from tfprior.cli import main; main()", *sys.argv[1:]]
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    workers.append(subprocess.Popen(command, env=told, **piped))
print(*(worker.pid for worker in workers), flush=True)
print(json.dumps([[*worker.communicate(), worker.returncode] for worker in workers]))
"""
ALONE = ["unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash"]
"""In a network of its own: TensorFlow's servers listen on all interfaces."""


def started(*arguments: object) -> subprocess.Popen[str]:
    """Both workers, the process numbers of which come first."""
    command = [*ALONE, sys.executable, "-c", CODE, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_worker_that_was_killed_costs_nothing(data: Path, tmp_path: Path) -> None:
    command = ("train", *TINY, "--data", data, "--levels", 4, "--ema", 0.9, "--strategy", "multi_worker")
    whole, out = tmp_path / "whole", tmp_path / "run"
    with started(*command, "--epochs", 4, "--out", whole) as both:
        told = both.communicate()[0].splitlines()
    (chief, worker) = json.loads(told[-1])
    assert (chief[2], worker[2]) == (0, 0), chief[1] + worker[1]
    assert "epoch 4/4" in chief[0]
    assert worker[0] == ""

    with started(*command, "--epochs", 4, "--out", out) as both:
        assert both.stdout is not None
        pids = [int(pid) for pid in both.stdout.readline().split()]
        wait_for(out / "metrics.csv", both)
        os.kill(pids[1], signal.SIGKILL)
        chief, worker = json.loads(both.communicate()[0].splitlines()[-1])
    assert worker[2] == -signal.SIGKILL
    assert chief[2] == 1
    assert chief[1].splitlines()[-1].startswith("Error: Another worker ended or cannot be reached; start all")
    assert load_run(out).result is None

    with started(*command, "--epochs", 4, "--out", out) as both:
        chief, worker = json.loads(both.communicate()[0].splitlines()[-1])
    assert (chief[2], worker[2]) == (0, 0), chief[1] + worker[1]
    assert "going on after epoch" in chief[0]
    rows, expected = (
        [{**row, "seconds": ""} for row in epochs_in(each / "metrics.csv")] for each in (out, whole)
    )
    assert rows == expected
    for which in ("best.keras", "last.keras"):
        assert load_run(out).load(which).weights_digest() == load_run(whole).load(which).weights_digest()


def wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists():
            return
        time.sleep(0.01)
    raise AssertionError(f"{file} did not come; the process is at {process.poll()}")


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (None, "multi_worker needs to know the workers, and TF_CONFIG is not set; set it on every machine"),
        ("{", "TF_CONFIG does not tell which worker this is (Expecting property name"),
        ('{"cluster": {}}', "TF_CONFIG does not tell which worker this is (it lacks 'task')"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "its index 1 is none of 1",
        ),
        ('{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "its type is 'ps'"),
        ('{"cluster": {"worker": "a:1"}, "task": {"index": 0}}', "its workers are no addresses with a port"),
    ],
)
def test_clusters_that_are_none(
    told: str | None, words: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if told is not None:
        monkeypatch.setenv("TF_CONFIG", told)
    printed = run(
        *("train", *TINY, "--data", data, "--strategy", "multi_worker", "--out", tmp_path / "run"), code=1
    )
    assert words in printed
    assert not (tmp_path / "run").exists()
