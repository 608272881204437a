"""Keras's own callbacks in plain `fit`, as people use them: of priors, and of tokenizers with codebooks."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.priors import GatedPixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2

SCORE = "val_bits_per_dim"
SMALL = {"filters": 4, "num_residual_blocks": 1, "residual_filters": 4}
MODELS = {
    "prior": lambda: GatedPixelCNN((4, 8, 1), Categorical(4), filters=4, num_layers=1, first_kernel_size=3),
    "initialized prior": lambda: PixelCNNPP(
        (4, 8, 1), DiscretizedLogistic(4), filters=4, num_layers=1, num_stages=1, dropout=0.0
    ),
    "tokenizer": lambda: VQVAE((4, 8, 1), VectorQuantizer(6, 4), DiscretizedLogistic(4), 2, **SMALL),
    "two grids": lambda: VQVAE2(
        (4, 8, 1), VectorQuantizer(6, 4), VectorQuantizer(5, 4), DiscretizedLogistic(4), 2, **SMALL
    ),
}


def images(count: int, seed: int) -> np.ndarray:
    """Dark above, bright below: something to learn."""
    rows = np.arange(4)[:, None, None]
    return (np.random.default_rng(seed).integers(2, size=(count, 4, 8, 1)) + rows // 2).astype("uint8")


SEEN, HELD_OUT = images(24, seed=0), images(12, seed=1)


def compiled(kind: str, **options: Any) -> Any:
    keras.utils.set_random_seed(3)
    model = MODELS[kind]()
    model.compile(optimizer=keras.optimizers.Adam(0.01, **options))
    return model


def fit(model: Any, callbacks: list[Any], epochs: int) -> dict[str, list[float]]:
    options = {"validation_data": HELD_OUT, "batch_size": 12, "shuffle": False, "verbose": 0}
    return model.fit(SEEN, epochs=epochs, callbacks=callbacks, **options).history


def score_of(model: Any) -> float:
    return model.evaluate(HELD_OUT, batch_size=12, verbose=0, return_dict=True)["bits_per_dim"]


def spoiled_from(epoch: int) -> keras.callbacks.Callback:
    """Trains at a rate that spoils the model from this epoch on."""
    return keras.callbacks.LearningRateScheduler(lambda index: 0.01 if index < epoch else 1.0)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A training that every callback took part in."""

    kind: str
    folder: Path
    model: Any
    history: dict[str, list[float]]

    @property
    def best(self) -> float:
        return min(self.history[SCORE])


@pytest.fixture(scope="module", params=["prior", "tokenizer", "two grids"])
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder, model = tmp_path_factory.mktemp("fit"), compiled(request.param)
    only_best = {"monitor": SCORE, "save_best_only": True}
    callbacks = [
        spoiled_from(2),
        keras.callbacks.ReduceLROnPlateau(monitor=SCORE, factor=0.5, patience=1),
        keras.callbacks.EarlyStopping(monitor=SCORE, patience=1, restore_best_weights=True),
        keras.callbacks.ModelCheckpoint(folder / "best.keras", **only_best),
        keras.callbacks.ModelCheckpoint(folder / "best.weights.h5", save_weights_only=True, **only_best),
        keras.callbacks.CSVLogger(folder / "metrics.csv"),
        keras.callbacks.TensorBoard(folder, histogram_freq=1),
        keras.callbacks.TerminateOnNaN(),
    ]
    return Trained(request.param, folder, model, fit(model, callbacks, epochs=9))


@pytest.mark.slow("two grids", "tokenizer")
def test_a_table_has_the_scores_of_both_parts(trained: Trained) -> None:
    with (trained.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = ["loss", *(score.name for score in trained.model.scores)]
    columns = [*names, *(f"val_{name}" for name in names), "learning_rate"]
    assert list(rows[0]) == ["epoch", *sorted(columns)]
    for name in columns:
        assert [float(row[name]) for row in rows] == pytest.approx(trained.history[name])


@pytest.mark.slow("two grids")
def test_training_stops_early_and_the_best_weights_come_back(trained: Trained) -> None:
    scores = trained.history[SCORE]
    assert len(scores) < 9
    assert scores[-1] > trained.best
    assert score_of(trained.model) == pytest.approx(trained.best, abs=1e-6)


def test_the_rate_falls_where_nothing_improves(trained: Trained) -> None:
    assert float(trained.model.optimizer.learning_rate) == 0.5


def test_checkpoints_hold_the_best_model(trained: Trained) -> None:
    loaded = keras.saving.load_model(trained.folder / "best.keras")
    assert score_of(loaded) == pytest.approx(trained.best, abs=1e-6)
    filled = MODELS[trained.kind]()
    filled.load_weights(trained.folder / "best.weights.h5")
    for weight, same in zip(loaded.get_weights(), filled.get_weights(), strict=True):
        np.testing.assert_array_equal(same, weight)


def test_scores_are_on_tensorboard(trained: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    for part, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(trained.folder / part))
        events.Reload()
        for name in ("loss", *(score.name for score in trained.model.scores)):
            shown = [make_ndarray(event.tensor_proto) for event in events.Tensors(f"epoch_{name}")]
            np.testing.assert_allclose(shown, trained.history[prefix + name], rtol=1e-6)


@pytest.mark.slow("tokenizer")
@pytest.mark.parametrize("kind", ["prior", "tokenizer"])
def test_the_best_averages_are_kept(kind: str, tmp_path: Path) -> None:
    model = compiled(kind, use_ema=True, ema_momentum=0.5)
    callbacks = [
        spoiled_from(2),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor=SCORE, save_best_only=True),
        keras.callbacks.EarlyStopping(monitor=SCORE, patience=1, restore_best_weights=True),
    ]
    scores = fit(model, callbacks, epochs=6)[SCORE]
    assert scores[-1] > min(scores)
    assert score_of(keras.saving.load_model(tmp_path / "best.keras")) == pytest.approx(min(scores), abs=1e-5)
    assert score_of(model) == pytest.approx(min(scores), abs=1e-5)


@pytest.mark.slow("two grids")
@pytest.mark.parametrize("kind", ["initialized prior", "two grids"])
def test_a_backup_goes_on_to_the_same_weights(kind: str, tmp_path: Path) -> None:
    class Interrupted(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                raise KeyboardInterrupt

    whole, again = compiled(kind), compiled(kind)
    expected = fit(whole, [], epochs=2)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(again, [backup, Interrupted()], epochs=2)
    for variable in (*again.weights, *again.optimizer.variables):
        variable.assign(keras.ops.zeros_like(variable))  # nothing is left but the backup
    assert fit(again, [backup], epochs=2) == {name: numbers[1:] for name, numbers in expected.items()}
    for weight, same in zip(whole.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(same, weight)


@pytest.mark.slow("tokenizer")
@pytest.mark.parametrize("kind", ["prior", "tokenizer"])
def test_training_ends_where_it_diverges(kind: str) -> None:
    model = compiled(kind)
    model.optimizer.learning_rate = np.inf
    assert len(fit(model, [keras.callbacks.TerminateOnNaN()], epochs=3)["loss"]) == 1
