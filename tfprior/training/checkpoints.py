"""What is written after every epoch beside what training goes on from: metrics and models."""

import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from tfprior.runs.checkpoint import written_together
from tfprior.runs.run_folder import BEST, LAST, METRICS, RunFolder
from tfprior.training.clock import Clock


class Checkpoints(keras.callbacks.Callback):
    """Writes metrics, best and last model after every epoch.

    They are written beside those of the epoch before and then moved into place. Whoever is killed before the
    state of the training is written too does that epoch again, and comes to the same.

    Args:
        run: the folder.
        rows: metrics of the epochs before.
        clock: of the training.
        average: swaps the averaged weights in for evaluation; None without averaging.

    Raises:
        ArithmeticError: when the score is no longer a number.
        OSError: when the files cannot be written; those of the epoch before stay.
    """

    def __init__(
        self,
        run: RunFolder,
        rows: list[dict[str, float]],
        clock: Clock,
        average: keras.callbacks.SwapEMAWeights | None,
    ) -> None:
        super().__init__()
        self.run = run
        self.rows = rows
        self.clock = clock
        self.average = average

    @property
    def best(self) -> float:
        return self.run.score.best_of(row["validation"] for row in self.rows)

    def get_state(self) -> dict[str, Any]:
        return {"rows": self.rows, "seconds": self.clock.seconds()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Nothing: `train` has read it."""

    def on_train_begin(self, logs: Any = None) -> None:
        # Without an optimizer, so that the files hold a model and no more.
        self.plain = type(self.model).from_config(self.model.get_config())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        score = self.run.score
        row = {
            "epoch": epoch + 1,
            "learning_rate": float(ops.convert_to_numpy(self.model.optimizer.learning_rate)),
            "train": float(logs[score.name]),
            "validation": float(logs[f"val_{score.name}"]),
            "seconds": self.clock.seconds(),
            **other_scores(logs, score.name),
        }
        if not math.isfinite(row["train"]) or not math.isfinite(row["validation"]):
            raise ArithmeticError(
                f"Training diverged in epoch {epoch + 1} ({score.unit} {row['train']} in training, "
                f"{row['validation']} in validation); train anew (--overwrite) at a lower --learning-rate."
            )
        self._copy_weights()
        improved = score.improves(row["validation"], self.best)
        try:
            self._write(epoch + 1, [*self.rows, row], [BEST] if improved else [])
        except (OSError, RuntimeError) as error:  # HDF5 has either of a full disk
            reason = " ".join(str(error).split()).rstrip(".")[:300]
            raise OSError(
                f"{self.run.path}: the checkpoint of epoch {epoch + 1} could not be written ({reason}); what "
                "was there is as it was: make room, and give the same command to go on."
            ) from error
        self.rows.append(row)

    def _write(self, epoch: int, rows: list[dict[str, float]], best: list[str]) -> None:
        with written_together(self.run.path, [METRICS, *best, LAST], epoch) as paths:
            self.run.write_history(rows, paths[METRICS])
            for name in (*best, LAST):
                self.plain.save(paths[name])

    def _copy_weights(self) -> None:
        if self.average is not None:
            self.average.on_test_begin()
        self.plain.set_weights(self.model.get_weights())
        if self.average is not None:
            self.average.on_test_end()


def other_scores(logs: dict[str, Any], score: str) -> dict[str, float]:
    """What was measured on the validation part beside `score`; of priors nothing."""
    names = [name.removeprefix("val_") for name in logs if name.startswith("val_")]
    return {name: float(logs[f"val_{name}"]) for name in names if name not in ("loss", score)}
