"""`tfprior serve` as a process: it starts, ends in good order, and starts again after it was killed."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from command_line import run
from small_bundles import save_prior

from tfprior.export.client import OnnxSampler

STREAM = {"Accept": "text/event-stream"}
LONG = {"num_samples": 256, "condition": [1] * 256, "seed": 0}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_prior(tmp_path_factory.mktemp("bundles") / "digits")


@contextmanager
def started(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the address where it listens."""
    command = [sys.executable, "-c", "from tfprior.cli import main; main()", "serve", *map(str, arguments)]
    with subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            lines = iter(process.stderr.readline, "")
            yield process, next(found[0] for line in lines if (found := re.search(r"http://[\d.:]+", line)))
        finally:
            process.kill()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT], ids=lambda ending: ending.name)
def test_what_was_asked_is_finished(bundle: Path, ending: signal.Signals) -> None:
    with started(bundle, "--slots", 1) as (process, address):
        url = f"{address}/v1/models/digits:sample"
        with httpx.stream("POST", url, json=LONG, headers=STREAM, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.send_signal(ending)
            rest = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
        assert sum("log_prob" in told for told in rest) == 256
        assert rest[-1] == {}
        assert process.wait(30) == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/readyz")


def test_what_was_killed_starts_again(bundle: Path) -> None:
    with started(bundle, "--slots", 1, "--threads", 1) as (process, address):
        url = f"{address}/v1/models/digits:sample"
        with httpx.stream("POST", url, json=LONG, headers=STREAM, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.kill()
            with pytest.raises(httpx.RemoteProtocolError):
                list(lines)
    with started(f"again={bundle}", "--token", "word") as (_, address):
        ask, shown = {"condition": [1], "seed": 3}, {"Authorization": "Bearer word"}
        told = httpx.post(f"{address}/v1/models/again:sample", json=ask, headers=shown, timeout=60).json()
        expected = OnnxSampler(bundle, threads=1).sample(1, [1], seed=3)
        np.testing.assert_array_equal(told["values"], expected)


def test_wrong_usage_is_told_before_anything_listens(bundle: Path, tmp_path: Path) -> None:
    assert "slots" in run("serve", bundle, "--slots", 0, code=2)
    assert "Two bundles would be served as 'digits'" in run("serve", bundle, bundle, code=1)
    assert "nothing" in run("serve", tmp_path / "nothing", code=1)
    assert "--timeout -1" in run("serve", bundle, "--timeout", -1, code=2)
    assert "no browser/index.html" in run("serve", bundle, "--page", tmp_path, code=1)
