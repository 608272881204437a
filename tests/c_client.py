"""The C client, built once by cc against the libraries of the installed TensorFlow."""

import atexit
import functools
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parent.parent / "clients" / "c" / "sample.c"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")


@functools.cache
def program() -> Path:
    if shutil.which("cc") is None:
        pytest.skip("cc is not installed, by which the C client is built")
    found = importlib.util.find_spec("tensorflow")
    assert found is not None
    assert found.origin is not None
    libraries = Path(found.origin).parent
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = ["cc", "-std=c11", "-O1", *WARNINGS, SOURCE, f"-I{libraries / 'include'}", f"-L{libraries}"]
    command += ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2", f"-Wl,-rpath,{libraries}"]
    subprocess.run([*command, "-o", folder / "sample"], check=True)
    return folder / "sample"


def drawn_by_c(bundle: Path, *arguments: object) -> np.ndarray:
    """The integers that it prints, a row for each example."""
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(program()), str(bundle), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, text=True, env=quiet, check=False)
    assert run.returncode == 0, run.stderr
    return np.array([line.split() for line in run.stdout.splitlines()], "int32")


def refused_by_c(*arguments: object) -> str:
    """What it says when it fails."""
    run = subprocess.run([str(program()), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stdout
    return run.stderr
