"""Commands run as users run them, and what they leave."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from typer.testing import CliRunner

from tfprior.cli import app

COMMANDS = (
    *("train", "pretrain", "probe", "finetune"),
    *("evaluate", "score", "sample", "complete", "compress", "decompress"),
    *("encode", "reconstruct", "bulk", "export", "verify", "serve", "info"),
)
TINY = ["pixel_cnn", "--filters", "4", "--layers", "1", "--batch-size", "8"]
VQ_VAE = ["vq_vae", "--codes", "6", "--code-dim", "3", "--downsampling", "2", "--filters", "4"]


def run(*args: Any, code: int = 0) -> str:
    """Runs the command and gives what it printed: on stdout when it went well, on stderr when it did not."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    if code:
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        return result.stderr
    return result.stdout


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def epochs_in(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))
