"""The folder of a training run.

config.json         data, model, options and versions; once finished, the result too
metrics.csv         one line an epoch
best.keras          the prior with the lowest validation bits/dim
last.keras          the prior after the last epoch
resume.weights.h5   weights and optimizer of an unfinished run
samples.png · curve.png · model_card.md · tensorboard/
"""

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from tfprior.atomic import atomic_path, remove_unfinished, write_text
from tfprior.priors.base import Prior

CONFIG, METRICS, BEST, LAST, RESUME = (
    "config.json",
    "metrics.csv",
    "best.keras",
    "last.keras",
    "resume.weights.h5",
)
SAMPLES, CURVE, CARD, TENSORBOARD = "samples.png", "curve.png", "model_card.md", "tensorboard"
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

    def file(self, name: str) -> Path:
        return self.path / name

    def write_config(self, **changes: Any) -> "RunFolder":
        """Writes the configuration with `changes` and gives the folder that holds it."""
        run = RunFolder(self.path, {**self.config, **changes})
        write_text(run.file(CONFIG), json.dumps(run.config, indent=2) + "\n")
        return run

    def history(self) -> list[dict[str, float]]:
        """The lines of metrics.csv: epoch (from 1), learning rate, bits/dim of both parts, seconds so far.

        Raises:
            ValueError: for a file that holds anything else.
        """
        file = self.file(METRICS)
        if not file.exists():
            return []
        try:
            rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
            return [{name: float(row[name]) for name in COLUMNS} for row in rows]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{file} is damaged; expected the columns {', '.join(COLUMNS)} in numbers: train again with "
                "--overwrite."
            ) from error

    def write_history(self, rows: Sequence[dict[str, float]]) -> None:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows([int(row["epoch"]), *(f"{row[name]:.8g}" for name in COLUMNS[1:])] for row in rows)
        write_text(self.file(METRICS), text.getvalue())

    def load(self, which: str = BEST) -> Prior:
        """The prior of the run, the best one unless `which` says last.keras.

        Raises:
            FileNotFoundError: before the first epoch ended.
            ValueError: for a file that is no prior.
        """
        if not self.file(which).exists():
            raise FileNotFoundError(f"{self.path} holds no {which}: its first epoch has not ended yet.")
        return load_prior(self.file(which))

    def clear(self) -> None:
        """Deletes what a run writes and nothing else."""
        for name in (METRICS, BEST, LAST, RESUME, SAMPLES, CURVE, CARD, CONFIG):
            self.file(name).unlink(missing_ok=True)
        shutil.rmtree(self.file(TENSORBOARD), ignore_errors=True)
        remove_unfinished(self.path)


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


def load_prior(path: str | os.PathLike[str]) -> Prior:
    """Loads a prior from a .keras file, in safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a file that is no .keras file, is damaged, or holds something else than a prior.
    """
    # Registers the classes a file may name.
    from tfprior import distributions, priors

    known = [getattr(package, name) for package in (distributions, priors) for name in package.__all__]
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; expected a prior saved as .keras.")
    if path.suffix != ".keras":  # Keras reads other formats too, which safe mode was not made for
        raise ValueError(f"{path} does not end in .keras; expected a prior saved as .keras.")
    try:
        prior = keras.saving.load_model(path, custom_objects={c.__name__: c for c in known}, safe_mode=True)
    except Exception as error:  # a damaged file fails in as many ways as Keras has readers
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{path} is no readable .keras file ({type(error).__name__}: {reason[:200]}); copy it again, or "
            "train again."
        ) from error
    if not isinstance(prior, Prior):
        raise ValueError(f"{path} holds a {type(prior).__name__}; expected a prior of tfprior.priors.")
    return prior


def save_prior(prior: Prior, path: str | os.PathLike[str]) -> None:
    """Writes the prior as .keras at once."""
    with atomic_path(path) as temporary:
        prior.save(temporary)
