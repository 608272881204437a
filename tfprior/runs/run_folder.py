"""The folder of a training run.

config.json         data, model, options and versions; once finished, the result too
metrics.csv         one line an epoch
best.keras          the prior or tokenizer with the lowest validation bits/dim
last.keras          the same after the last epoch
resume.weights.h5   weights and optimizer of an unfinished run
curve.png · model_card.md · tensorboard/
samples.png, of a tokenizer reconstructions.png · codebook_usage.png
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfprior.atomic import remove_unfinished, write_text
from tfprior.data import CodesOrigin
from tfprior.grid_model import GridModel
from tfprior.registry import MODELS
from tfprior.runs.model_file import load_model

CONFIG, METRICS, BEST, LAST, RESUME = (
    "config.json",
    "metrics.csv",
    "best.keras",
    "last.keras",
    "resume.weights.h5",
)
SAMPLES, CURVE, CARD, TENSORBOARD = "samples.png", "curve.png", "model_card.md", "tensorboard"
RECONSTRUCTIONS, USAGE = "reconstructions.png", "codebook_usage.png"
COLUMNS = ("epoch", "learning_rate", "train", "validation", "seconds")
SECTIONS = ("data", "model", "options", "versions")


@dataclass(frozen=True)
class RunFolder:
    """A run on disk: its path and its configuration."""

    path: Path
    config: dict[str, Any]

    @property
    def result(self) -> dict[str, Any] | None:
        """Epochs, best validation bits/dim and seconds of a finished run; None before."""
        return self.config.get("result")

    @property
    def is_tokenizer(self) -> bool:
        model = MODELS.get(self.config["model"].get("name"))
        return model is not None and model.kind == "tokenizer"

    @property
    def of_codes(self) -> bool:
        """Whether it is a prior of a tokenizer's codes."""
        return "codes_of" in self.config["data"]

    @property
    def unit(self) -> str:
        """What its scores are in."""
        return "bits/code" if self.of_codes else "bits/dim"

    @property
    def codes_origin(self) -> CodesOrigin | None:
        """Where the codes that it was trained on come from; None where they did not tell."""
        known = self.config["data"].get("codes_of")
        return CodesOrigin(**known) if known else None

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures of a finished run."""
        return (CURVE, RECONSTRUCTIONS, USAGE) if self.is_tokenizer else (CURVE, SAMPLES)

    def file(self, name: str) -> Path:
        return self.path / name

    def write_config(self, **changes: Any) -> "RunFolder":
        """Writes the configuration with `changes` and gives the folder that holds it."""
        run = RunFolder(self.path, {**self.config, **changes})
        write_text(run.file(CONFIG), json.dumps(run.config, indent=2) + "\n")
        return run

    def history(self) -> list[dict[str, float]]:
        """The lines of metrics.csv: epoch (from 1), learning rate, bits/dim of both parts, seconds so far.

        A tokenizer's lines go on with what else was measured on the held-out part.

        Raises:
            ValueError: for a file that holds anything else.
        """
        file = self.file(METRICS)
        if not file.exists():
            return []
        try:
            rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
            return [{name: float(row[name]) for name in (*COLUMNS, *further(row))} for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is damaged; expected the columns {', '.join(COLUMNS)} in numbers: train again with "
                "--overwrite."
            ) from error

    def write_history(self, rows: Sequence[dict[str, float]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = (*COLUMNS[1:], *further(rows[0] if rows else {}))
        writer.writerow(["epoch", *names])
        writer.writerows([int(row["epoch"]), *(f"{row[name]:.8g}" for name in names)] for row in rows)
        write_text(self.file(METRICS), text.getvalue())

    def load(self, which: str = BEST) -> GridModel:
        """The prior or tokenizer of the run, the best one unless `which` says last.keras.

        Raises:
            FileNotFoundError: before the first epoch ended.
            ValueError: for a file that is neither.
        """
        if not self.file(which).exists():
            raise FileNotFoundError(f"{self.path} holds no {which}: its first epoch has not ended yet.")
        return load_model(self.file(which))

    def clear(self) -> None:
        """Deletes what a run writes and nothing else."""
        for name in (METRICS, BEST, LAST, RESUME, SAMPLES, CURVE, RECONSTRUCTIONS, USAGE, CARD, CONFIG):
            self.file(name).unlink(missing_ok=True)
        shutil.rmtree(self.file(TENSORBOARD), ignore_errors=True)
        remove_unfinished(self.path)


def further(row: Mapping[str, Any]) -> list[str]:
    """Names of what a line of metrics.csv holds beside the columns that all runs have."""
    return [name for name in row if name not in COLUMNS]


def load_run(path: str | os.PathLike[str]) -> RunFolder:
    """Opens the folder of a run, finished or not.

    Raises:
        FileNotFoundError: for a folder that is missing or holds no run.
        ValueError: for a configuration that is damaged.
    """
    path = Path(path)
    if not path.is_dir():
        raise FileNotFoundError(f"{path} is no folder; expected the --out of `tfprior train`.")
    file = path / CONFIG
    if not file.exists():
        raise FileNotFoundError(
            f"{path} holds no {CONFIG}, so it is no run; expected the --out of `tfprior train`."
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is damaged ({error}); restore it, or train again.") from error
    missing = [
        name for name in SECTIONS if not isinstance(config, dict) or not isinstance(config.get(name), dict)
    ]
    if missing:
        raise ValueError(f"{file} lacks {', '.join(missing)}; restore it, or train again.")
    return RunFolder(path, config)
