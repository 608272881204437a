"""The folder of a training run.

config.json         its kind, data, model, score, options and versions; once finished, the result too
metrics.csv         one line an epoch
best.keras          the model with the best validation score
last.keras          the same after the last epoch
checkpoint.json     the SHA-256 of these three
resume/             all that training goes on from, of the last two times it was saved: each three times
                    best.keras, four times with averaged weights; of a finished run one, to train it further
run.lock            while a process trains
curve.png · model_card.md · tensorboard/
pictures/           those drawn while it trains, where they are asked for
samples.png, of a tokenizer reconstructions.png · codebook_usage.png, of an encoder reconstructions.png
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
from tfprior.runs.checkpoint import CHECKPOINT, REMEDY, Checkpoint
from tfprior.runs.config import read_config
from tfprior.runs.model_file import load_model
from tfprior.score import Score

CONFIG, METRICS, BEST, LAST, RESUME = (
    "config.json",
    "metrics.csv",
    "best.keras",
    "last.keras",
    "resume",
)
SAMPLES, CURVE, CARD, TENSORBOARD = "samples.png", "curve.png", "model_card.md", "tensorboard"
DRAWN_WHILE_TRAINING = "pictures"
RECONSTRUCTIONS, USAGE = "reconstructions.png", "codebook_usage.png"
PICTURES = {
    "prior": (SAMPLES,),
    "tokenizer": (RECONSTRUCTIONS, USAGE),
    "encoder": (RECONSTRUCTIONS,),
    "classifier": (),
    "model": (),
}
COLUMNS = ("epoch", "learning_rate", "train", "validation", "seconds")


@dataclass(frozen=True)
class RunFolder:
    """A run on disk: its path and its configuration."""

    path: Path
    config: dict[str, Any]

    @property
    def result(self) -> dict[str, Any] | None:
        """Epochs, best validation score and seconds of a finished run; None before."""
        return self.config.get("result")

    @property
    def score(self) -> Score:
        """What tells which epoch is the best."""
        return Score.from_config(self.config["score"])

    @property
    def best_score(self) -> float:
        """Of a finished run, on the held-out part."""
        return float((self.result or {})[f"best_{self.score.name}"])

    @property
    def is_tokenizer(self) -> bool:
        return self.config["kind"] == "tokenizer"

    @property
    def of_codes(self) -> bool:
        """Whether it is a prior of a tokenizer's codes."""
        return "codes_of" in self.config["data"]

    @property
    def codes_origin(self) -> CodesOrigin | None:
        """Where the codes that it was trained on come from; None where they did not tell."""
        known = self.config["data"].get("codes_of")
        return CodesOrigin(**known) if known else None

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of the pictures of a finished run."""
        return (CURVE, *PICTURES[self.config["kind"]])

    def file(self, name: str) -> Path:
        return self.path / name

    def write_config(self, **changes: Any) -> "RunFolder":
        """Writes the configuration with `changes` and gives the folder that holds it."""
        run = RunFolder(self.path, {**self.config, **changes})
        write_text(run.file(CONFIG), json.dumps(run.config, indent=2) + "\n")
        return run

    def history(self) -> list[dict[str, float]]:
        """The lines of metrics.csv: epoch (from 1), learning rate, score of both parts, seconds so far.

        They go on with what else was measured on the held-out part, as of a tokenizer.

        Raises:
            FileNotFoundError: for a file that is missing.
            ValueError: for a file that holds anything else.
        """
        file, checkpoint = self.file(METRICS), Checkpoint.read(self.path)
        if checkpoint is not None and checkpoint.files:
            checkpoint.version_of(file)
        if not file.exists():
            return []
        try:
            rows = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"))))
            return [{name: float(row[name]) for name in (*COLUMNS, *further(row))} for row in rows]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                f"{file} is damaged; expected the columns {', '.join(COLUMNS)} in numbers: train again with "
                "--overwrite."
            ) from error

    def write_history(self, rows: Sequence[dict[str, float]], path: Path | None = None) -> None:
        """Writes metrics.csv, or to `path` what it is to be."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = (*COLUMNS[1:], *further(rows[0] if rows else {}))
        writer.writerow(["epoch", *names])
        writer.writerows([int(row["epoch"]), *(f"{row[name]:.8g}" for name in names)] for row in rows)
        write_text(path or self.file(METRICS), text.getvalue())

    def load(self, which: str = BEST) -> GridModel:
        """The prior or tokenizer of the run, the best one unless `which` says last.keras.

        Raises:
            FileNotFoundError: before the first epoch ended.
            ValueError: for a file that is neither, and one that training did not write.
        """
        file = self.file(which)
        if not file.exists() and not self.file(CHECKPOINT).exists():
            raise FileNotFoundError(f"{self.path} holds no {which}: its first epoch has not ended yet.")
        self.checkpoint().version_of(file)
        return load_model(file)

    def checkpoint(self) -> Checkpoint:
        """What the run's files are known by.

        Raises:
            FileNotFoundError: where it is missing.
            ValueError: where it is damaged.
        """
        found = Checkpoint.read(self.path)
        if found is None:
            raise FileNotFoundError(
                f"{self.file(CHECKPOINT)} is missing, by which the run's files are checked; {REMEDY}."
            )
        return found

    def clear(self) -> None:
        """Deletes what a run writes and nothing else."""
        written = (BEST, LAST, METRICS, SAMPLES, CURVE, RECONSTRUCTIONS, USAGE, CARD)
        # Without its checkpoint, a half-deleted run cannot go on by mistake.
        for name in (CHECKPOINT, *written, CONFIG):
            self.file(name).unlink(missing_ok=True)
        for name in (RESUME, TENSORBOARD, DRAWN_WHILE_TRAINING):
            shutil.rmtree(self.file(name), ignore_errors=True)
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
    return RunFolder(path, read_config(file))


def holds_run(path: Path) -> bool:
    """Whether a folder holds a run, perhaps a damaged one: others have a config.json too."""
    if any((path / name).exists() for name in (CHECKPOINT, METRICS)):
        return (path / CONFIG).exists()
    try:
        load_run(path)
    except (OSError, ValueError):
        return False
    return True
