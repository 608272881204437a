"""`ExactResume` in plain `fit`: what was interrupted ends as what was not, bit for bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfprior.data import Images, ResumableDataset
from tfprior.distributions import Categorical
from tfprior.priors import PixelCNN
from tfprior.training import ExactResume
from tfprior.training.state_file import newest_state

RNG = np.random.default_rng(0)
VALUES = RNG.integers(0, 4, (22, 4, 3, 1))
LABELS = RNG.integers(0, 3, 22)
WEIGHTS = RNG.random(22).astype("float32")
NAMED = {"values": VALUES, "condition": LABELS, "sample_weight": WEIGHTS}


class Stop(keras.callbacks.Callback):
    """Ends `fit` with an error at a step."""

    def __init__(self, step: int | None) -> None:
        super().__init__()
        self.left = step

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt


def built(filters: int = 4, num_classes: int | None = 3, **options: Any) -> PixelCNN:
    keras.utils.set_random_seed(0)
    model = PixelCNN((4, 3, 1), Categorical(4), filters=filters, num_layers=1, num_classes=num_classes)
    model.compile(keras.optimizers.AdamW(0.01, use_ema=True, ema_momentum=0.5), **options)
    return model


def fitted(path: Path, step: int | None = None, x: Any = NAMED, **arguments: Any) -> PixelCNN:
    """A model of `fit`, which is interrupted after so many steps."""
    model = built()
    others = arguments.pop("callbacks", [])
    # Not the last of the callbacks: it is to be, of itself.
    callbacks = [ExactResume(path, every_minutes=0), Stop(step), *others]
    arguments = {"batch_size": 4, "epochs": 3, "verbose": 0, **arguments}
    try:
        model.fit(x, callbacks=callbacks, **arguments)
    except KeyboardInterrupt:
        return model
    assert step is None
    return model


def assert_same(model: PixelCNN, other: PixelCNN) -> None:
    for part in ("variables", "optimizer"):
        ours, theirs = (getattr(each, part) for each in (model, other))
        if part == "optimizer":
            ours, theirs = ours.variables, theirs.variables
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(np.asarray(one), np.asarray(two), err_msg=one.path)
    assert model.history.history == other.history.history
    assert model.history.epoch == other.history.epoch


SOURCES: dict[str, Callable[[], tuple[Any, dict[str, Any]]]] = {
    "arrays": lambda: (NAMED, {"validation_split": 0.2}),
    "arrays in order": lambda: (NAMED, {"shuffle": False, "validation_data": NAMED}),
    "labels": lambda: (VALUES, {"y": LABELS, "class_weight": {0: 1.0, 1: 2.0, 2: 0.5}}),
    "a dataset": lambda: (tf.data.Dataset.from_tensor_slices(NAMED).batch(4), {"batch_size": None}),
    "an endless dataset": lambda: (
        tf.data.Dataset.from_tensor_slices(NAMED).repeat().batch(4),
        {"batch_size": None, "steps_per_epoch": 4},
    ),
    "images": lambda: (
        Images("made", VALUES, LABELS, VALUES, LABELS, 4).resumable(4, seed=2, conditional=True, flip=True),
        {"batch_size": None},
    ),
}


@pytest.mark.slow("arrays in order", "arrays", "labels", "a dataset", "images")
@pytest.mark.parametrize("source", SOURCES)
def test_what_was_interrupted_ends_as_what_was_not(tmp_path: Path, source: str) -> None:
    x, arguments = SOURCES[source]()
    whole = fitted(tmp_path / "whole", x=x, **arguments)
    assert len(whole.history.epoch) == 3
    assert len(set(whole.history.history["loss"])) == 3
    fitted(tmp_path / "parts", 7, x=x, **arguments)
    assert_same(fitted(tmp_path / "parts", x=x, **arguments), whole)


def test_steps_in_groups_and_sums_of_gradients(tmp_path: Path) -> None:
    def run(path: Path, step: int | None = None) -> PixelCNN:
        keras.utils.set_random_seed(0)
        model = built(steps_per_execution=2)
        model.compile(keras.optimizers.SGD(0.1, gradient_accumulation_steps=3), steps_per_execution=2)
        callbacks = [Stop(step), ExactResume(path, every_minutes=0)]
        try:
            model.fit(NAMED, batch_size=4, epochs=3, verbose=0, callbacks=callbacks)
        except KeyboardInterrupt:
            assert step is not None
        return model

    whole = run(tmp_path / "whole")
    for step in (2, 3):
        run(tmp_path / "parts", step)
    assert_same(run(tmp_path / "parts"), whole)
    with pytest.raises(
        ValueError, match="5 steps of an epoch in groups of steps_per_execution=2; expected a"
    ):
        built(steps_per_execution=2).fit(NAMED, batch_size=5, callbacks=[ExactResume(tmp_path / "odd")])


def test_callbacks_remember(tmp_path: Path) -> None:
    def callbacks() -> list[keras.callbacks.Callback]:
        return [
            keras.callbacks.SwapEMAWeights(),
            keras.callbacks.EarlyStopping(
                "val_bits_per_dim", patience=2, min_delta=10.0, restore_best_weights=True
            ),
            keras.callbacks.ReduceLROnPlateau("val_bits_per_dim", patience=1, min_delta=10.0, verbose=0),
        ]

    arguments = {"validation_data": NAMED, "epochs": 9}
    whole = fitted(tmp_path / "whole", callbacks=callbacks(), **arguments)
    assert whole.history.epoch == [0, 1, 2]  # none is better by ten bits
    assert whole.history.history["learning_rate"][-1] < 0.01
    fitted(tmp_path / "parts", 13, callbacks=callbacks(), **arguments)
    assert_same(fitted(tmp_path / "parts", callbacks=callbacks(), **arguments), whole)
    assert_same(fitted(tmp_path / "parts", callbacks=callbacks(), **arguments), whole)


@pytest.mark.slow
def test_more_epochs_go_on(tmp_path: Path) -> None:
    whole = fitted(tmp_path / "whole", epochs=4)
    fitted(tmp_path / "parts", epochs=2)
    for _ in range(2):  # a finished one is given back
        assert_same(fitted(tmp_path / "parts", epochs=4), whole)


def test_files(tmp_path: Path) -> None:
    fitted(tmp_path, 8)
    assert {path.name for path in tmp_path.iterdir()} == {f"state-{step:010}.npz" for step in (6, 7)}
    state = newest_state(tmp_path)
    assert state is not None
    assert (state.step, state.epoch, state.steps_of_epoch) == (7, 1, 1)
    with pytest.raises(BlockingIOError, match="is being trained into by another process"):
        fitted(tmp_path, callbacks=[Again(tmp_path)])


class Again(keras.callbacks.Callback):
    """Trains with the same folder meanwhile."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def on_train_begin(self, logs: Any = None) -> None:
        fitted(self.path)


@pytest.mark.slow("change2")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 2}, r"another data, steps_per_epoch \(6, now 11\); train as before"),
        ({"x": {**NAMED, "values": VALUES[::-1]}}, r"another data; train as before to go on, or choose"),
        ({"shuffle": False}, r"another data; train as before"),
    ],
)
def test_another_training_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    fitted(tmp_path, 2)
    with pytest.raises(ValueError, match=f"{tmp_path} holds the state of another training: {words}"):
        fitted(tmp_path, **change)


def test_another_model_is_refused(tmp_path: Path) -> None:
    fitted(tmp_path, 2)
    arguments = {"batch_size": 4, "epochs": 3, "callbacks": [ExactResume(tmp_path)]}
    with pytest.raises(ValueError, match="another training: another architecture; train as before"):
        built(filters=6).fit(NAMED, **arguments)
    model = built()
    model.compile("sgd")
    with pytest.raises(ValueError, match=r"optimizer \(AdamW, now SGD\), settings of the optimizer; train"):
        model.fit(NAMED, **arguments)
    with pytest.raises(ValueError, match=r"another seed \(0, now 1\)"):
        built().fit(NAMED, batch_size=4, callbacks=[ExactResume(tmp_path, seed=1)])


DATASET = tf.data.Dataset.from_tensor_slices(NAMED)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (DATASET.shuffle(22).batch(4), r"draws anew each time it is read \(ShuffleDataset.*\), and the next"),
        (DATASET.shuffle(22, seed=1).batch(4), r"draws anew .*pass arrays, images\.resumable\(batch_size\)"),
        (
            DATASET.batch(4).map(
                lambda x: {**x, "values": x["values"] + tf.random.uniform((), 0, 1, "int64")}
            ),
            r"draws anew each time it is read \(RandomUniformInt\)",
        ),
        (DATASET.shuffle(22, reshuffle_each_iteration=False).batch(4), r"draws anew .*\(ShuffleDataset"),
        (DATASET.repeat().batch(4), "does not tell how many batches it has; pass steps_per_epoch, or apply"),
        (iter([NAMED]), "as data to go on with; expected arrays, a tf.data.Dataset or a ResumableDataset"),
    ],
)
def test_data_whose_order_nobody_knows_are_refused(tmp_path: Path, x: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        built().fit(x, verbose=0, callbacks=[ExactResume(tmp_path)])
    assert not list(tmp_path.iterdir())


def test_options_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="every_minutes=-1; expected a number from 0, or None"):
        ExactResume(tmp_path, every_minutes=-1)
    data = ResumableDataset(5, lambda step: DATASET.batch(4).repeat().skip(step))
    with pytest.raises(ValueError, match="steps_per_epoch=3, and an epoch of the data has 5; leave it out"):
        built().fit(data, steps_per_epoch=3, callbacks=[ExactResume(tmp_path)])


def test_shuffled_once_by_a_seed_is_known(tmp_path: Path) -> None:
    def shuffled() -> tf.data.Dataset:
        return DATASET.shuffle(22, seed=1, reshuffle_each_iteration=False).batch(4)

    whole = fitted(tmp_path / "whole", x=shuffled(), batch_size=None)
    fitted(tmp_path / "parts", 8, x=shuffled(), batch_size=None)
    assert_same(fitted(tmp_path / "parts", x=shuffled(), batch_size=None), whole)
    with pytest.raises(ValueError, match=r"validation_split=0\.5 parts arrays, and the data are a _Batch"):
        fitted(tmp_path / "parts", x=shuffled(), batch_size=None, validation_split=0.5)


def test_a_resumable_dataset_needs_no_callback() -> None:
    data = ResumableDataset(2, lambda step: DATASET.batch(4).repeat().skip(step))
    model, same = built(), built()
    model.fit(data, epochs=2, verbose=0)
    same.fit(DATASET.batch(4).take(4), verbose=0)
    for one, two in zip(model.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
