"""One device, two replicas of a MirroredStrategy and two workers train the same model."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selected import names_asked

SCRIPT = Path(__file__).with_name("replica_training.py")
MODELS = [
    *("CausalTransformer", "GatedPixelCNN", "PixelCNNPP"),
    *("EMA with restarts", "residual, by average and gradient", "VQVAE2, lookup-free"),
    *("images of MAE", "GreenMIM"),
]
OF_WORKERS = ["GatedPixelCNN", "EMA with restarts"]
ALONE = ["unshare", "-rn", "bash", "-c", 'ip link set lo up && exec "$@"', "bash"]
"""In a network of its own: TensorFlow's servers listen on all interfaces."""


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def check_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert other["spread"] == 0
    for name, scores in one["history"].items():
        np.testing.assert_allclose(other["history"][name], scores, rtol=1e-6, err_msg=name)
    for weight, same in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(np.asarray(same), np.asarray(weight), atol=1e-5)
    if "predicted" in one:
        np.testing.assert_allclose(np.asarray(other["predicted"]), np.asarray(one["predicted"]), atol=1e-5)


@pytest.fixture(scope="module")
def mirrored(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What one device and two replicas make of each model, in one process."""
    whole, parts = test_two_replicas_train_as_one_device, test_replicas_that_were_interrupted_end_as_if_not
    both = test_two_workers_train_as_one_device
    names = {name for test in (whole, parts, both) for name in names_asked(request, test)} | {"dropout"}
    command = [sys.executable, SCRIPT, "mirrored", *sorted(names)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    return {result["name"]: result for result in lines_of(ran.stdout)}


@pytest.fixture(scope="module")
def of_workers(request: pytest.FixtureRequest) -> dict[str, list[dict[str, Any]]]:
    """What two workers make of each model."""
    both = (
        "import json, os, subprocess, sys\n"
        "cluster = {'worker': ['127.0.0.1:20001', '127.0.0.1:20002']}\n"
        "config = lambda index: {'cluster': cluster, 'task': {'type': 'worker', 'index': index}}\n"
        "start = lambda index: subprocess.Popen(\n"
        "    [sys.executable, *sys.argv[1:]], stdout=subprocess.PIPE, text=True,\n"
        "    env={**os.environ, 'TF_CONFIG': json.dumps(config(index))},\n"
        ")\n"
        "workers = [start(0), start(1)]\n"
        "print(json.dumps([worker.communicate()[0] for worker in workers]))\n"
    )
    names = names_asked(request, test_two_workers_train_as_one_device)
    command = [*ALONE, sys.executable, "-c", both, SCRIPT, "worker", *names]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert ran.returncode == 0, ran.stderr[-4000:]
    told = [lines_of(lines) for lines in json.loads(ran.stdout.splitlines()[-1])]
    assert [[each["name"] for each in worker] for worker in told] == [names, names]
    return {name: list(results) for name, *results in zip(names, *told, strict=True)}


@pytest.mark.slow("residual", "images of MAE", "GreenMIM", "CausalTransformer", "PixelCNNPP", "VQVAE2")
@pytest.mark.parametrize("name", MODELS)
def test_two_replicas_train_as_one_device(name: str, mirrored: dict[str, dict[str, Any]]) -> None:
    alone, together = mirrored[name]["alone"], mirrored[name]["together"]
    check_same(alone, together)
    assert together["pictures"] == alone["pictures"]


@pytest.mark.slow("restarts")
@pytest.mark.parametrize("name", ["dropout", "restarts"])
def test_replicas_that_were_interrupted_end_as_if_not(name: str, mirrored: dict[str, dict[str, Any]]) -> None:
    assert mirrored[name]["whole"] == mirrored[name]["parts"]
    assert mirrored[name]["history of whole"] == mirrored[name]["history of parts"]


def test_replicas_have_noise_of_their_own(mirrored: dict[str, dict[str, Any]]) -> None:
    assert any(first != second for first, second in mirrored["dropout"]["whole"])


@pytest.mark.slow("GatedPixelCNN")
@pytest.mark.parametrize("name", OF_WORKERS)
def test_two_workers_train_as_one_device(
    name: str, mirrored: dict[str, dict[str, Any]], of_workers: dict[str, list[dict[str, Any]]]
) -> None:
    alone, (chief, worker) = mirrored[name]["alone"], of_workers[name]
    check_same(alone, chief)
    assert chief["weights"] == worker["weights"]
    assert chief["history"] == worker["history"]
    assert (chief["pictures"], worker["pictures"]) == (alone["pictures"], [])
    if name == "EMA with restarts":
        assert chief["pictures"] == [f"reconstructions-epoch-000{epoch}.png" for epoch in (1, 2, 3)]
