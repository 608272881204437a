"""A bundle in every runtime that is installed: are its integers equal, and how long does a step take?"""

import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfprior.export.arrays import Arrays, Run
from tfprior.export.checks import BundleError
from tfprior.export.manifest import Manifest
from tfprior.export.manifest_file import load_manifest
from tfprior.export.prior_description import PriorDescription
from tfprior.export.rollout import Rollout
from tfprior.export.runtimes import RUNTIMES
from tfprior.export.verification import check_files, golden_condition, golden_options, replay, together

BATCH_SIZES = (1, 16)
REPEATS = 3


class RuntimeRow(NamedTuple):
    """What one runtime makes of a bundle's golden rollouts, on one thread where it lets itself be told.

    Attributes:
        runtime: its title.
        integers: how many were compared and are equal.
        nats_error: the largest relative error of a log-likelihood.
        method: the fastest way of drawing from outside.
        microseconds: a step by it, for every batch size of `BATCH_SIZES`.
        fault: why there is nothing else: it is not installed, or what differs.
        is_missing: whether it is not installed.
    """

    runtime: str
    integers: int = 0
    nats_error: float = 0.0
    method: str = ""
    microseconds: tuple[float, ...] = ()
    fault: str = ""
    is_missing: bool = False


def runtime_table(path: str | Path) -> list[RuntimeRow]:
    """One row for each runtime that runs a format which the bundle holds.

    Raises:
        BundleError: for a bundle that is missing or damaged.
    """
    path = Path(path)
    manifest = load_manifest(path)
    check_files(path, manifest)
    rows = []
    for name, runtime in RUNTIMES.items():
        if runtime.format not in manifest.formats():
            continue
        if not runtime.is_installed:
            rows.append(RuntimeRow(runtime.title, fault=runtime.missing, is_missing=True))
            continue
        try:
            run = runtime.open(path, manifest)
            found = together(*replay(name, manifest, run).values())
            method, speeds = ("", ()) if not manifest.priors else microseconds_a_step(run, manifest)
        except BundleError as error:
            rows.append(RuntimeRow(runtime.title, fault=str(error)))
        else:
            rows.append(RuntimeRow(runtime.title, found.integers, found.nats_error, method, speeds))
    return rows


def microseconds_a_step(run: Run, manifest: Manifest) -> tuple[str, tuple[float, ...]]:
    """By the fastest method, drawing whole grids of the first prior: the method, and of each batch size."""
    prior = manifest.priors[0]
    rollout = Rollout(run, manifest, prior)
    method = rollout.methods[0]
    return method, tuple(_microseconds(rollout, method, prior, size) for size in BATCH_SIZES)


def _microseconds(rollout: Rollout, method: str, prior: PriorDescription, batch_size: int) -> float:
    golden = prior.golden
    rows = np.arange(batch_size) % len(golden.values)
    inputs: Arrays = golden_options(golden)
    if (condition := golden_condition(prior)) is not None:
        inputs["condition"] = condition
    if golden.order is not None:
        inputs["order"] = golden.order.astype("int32")
    inputs = {name: array[rows] for name, array in inputs.items()}
    uniforms = golden.uniforms.astype("float32")[rows]
    rollout.draw(method, uniforms, inputs)
    took = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        rollout.draw(method, uniforms, inputs)
        took.append(time.perf_counter() - begin)
    return min(took) / prior.num_steps * 1e6
