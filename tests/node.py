"""Node, its packages, and the JavaScript client run by it.

Packages are installed once into a cache folder; a test skips only where there is no Node.
"""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfprior.priors import Prior
from tfprior.sampling import sample

PACKAGES = ("onnxruntime-node@1.30.0",)
ASK = Path(__file__).parent / "clients" / "ask.mjs"
SEED = 3


def modules(*packages: str) -> Path:
    """The folder that holds node_modules/ with these packages; another process may install them meanwhile."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed; JavaScript clients are tested with Node 20 or newer")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "tfprior-tests")
    folder = cache / "_".join(packages).replace("@", "-")
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=cache))
        install = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", *packages]
        subprocess.run(install, cwd=partial, check=True, capture_output=True)
        with contextlib.suppress(OSError):  # another process was faster
            partial.rename(folder)
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def ask(source: str | Path | dict[str, str], *calls: tuple[str, Any]) -> list[dict[str, Any]]:
    """What the methods of a bundle's sampler answer, one after the other: fields, or an error's `message`."""
    place = {"held": list(source.items())} if isinstance(source, dict) else {"source": str(source)}
    question = json.dumps({**place, "calls": calls}, default=plain)
    command = ["node", str(ASK), str(modules(*PACKAGES))]
    run = subprocess.run(command, input=question, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    return [{**answer, "values": np.array(answer.get("values"))} for answer in answers]


def plain(value: Any) -> Any:
    """Arrays as JSON has them for the client: flat lists, of 0 and 1 for masks."""
    return value.astype("int32" if value.dtype == bool else value.dtype).ravel().tolist()


def assert_draws_as_keras(path: Path, prior: Prior, condition: Any, order: Any = None) -> None:
    """From the same seed it draws, pixel by pixel too, completes and scores what Keras does."""
    count, along = 5, {} if order is None else {"order": order}
    temperature = np.linspace(0.7, 1.3, count).astype("float32")
    expected = sample(prior, count, condition, seed=SEED, temperature=temperature, **along)
    nats = prior.log_prob(expected, condition, **along)
    mask = np.random.default_rng(5).random((count, *prior.grid_shape[:2])) < 0.4
    mask[:, 0] = False
    observed = {"observed": expected, "mask": mask}
    completed = sample(prior, count, condition, seed=SEED + 1, **observed, **along)
    asked = {"count": count, "condition": condition, **along}
    asked = {name: value for name, value in asked.items() if value is not None}
    draws = {**asked, "seed": SEED, "temperature": temperature}
    drawn, by_pixel, filled, scored = ask(
        path,
        ("sample", draws),
        ("draw", draws),
        ("complete", {**asked, "seed": SEED + 1, "values": expected, "mask": mask}),
        ("logProb", {**asked, "values": expected}),
    )
    for found in (drawn, by_pixel):
        assert "message" not in found, found["message"]
        np.testing.assert_array_equal(found["values"], expected.ravel())
    assert by_pixel["ranks"] == list(range(prior.num_steps))
    assert "message" not in filled, filled["message"]
    np.testing.assert_array_equal(filled["values"], completed.ravel())
    for found in (drawn["logProb"], by_pixel["logProb"], scored["values"]):
        np.testing.assert_allclose(found, nats, rtol=1e-5)
