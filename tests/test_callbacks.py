"""What happens while a run trains, and its optimizer."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from small_runs import MODEL, made

from tfprior.registry import build_prior
from tfprior.training import ImagesPerSecond
from tfprior.training.clock import Clock, clock_face
from tfprior.training.optimizer import AveragedAdamW
from tfprior.training.schedule import Schedule


def test_averages_soon_forget_the_untrained_weights() -> None:
    optimizer = AveragedAdamW(0.0, use_ema=True, ema_momentum=0.98)
    weight = keras.Variable(np.float32(100))
    optimizer.build([weight])
    average, expected = optimizer._model_variables_moving_average[0], 0.0
    for step in range(300):
        weight.assign(np.float32(100 if step == 0 else step % 7))
        optimizer.apply([np.zeros((), "float32")])
        momentum = 0.0 if step == 0 else min(0.98, (1 + step) / (10 + step))
        expected = momentum * expected + (1 - momentum) * float(weight)
        if step == 50:
            assert float(average) < 4  # at 0.98 throughout it would be 38
    assert float(average) == pytest.approx(expected, rel=1e-5)
    assert optimizer.get_config()["ema_momentum"] == 0.98


def test_the_learning_rate_rises_and_falls() -> None:
    prior = build_prior(made(), MODEL)
    prior.compile()
    schedule = Schedule(1.0, 2, 4, Clock(0.0, None))
    schedule.set_model(prior)
    schedule.on_train_begin()
    rates = []
    for batch in range(4):
        schedule.on_train_batch_begin(batch)
        rates.append(float(prior.optimizer.learning_rate))
    expected = [warmth * (1 + math.cos(math.pi * step / 4)) / 2 for step, warmth in enumerate((0.5, 1, 1, 1))]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_the_learning_rate_follows_the_clock() -> None:
    prior = build_prior(made(), MODEL)
    prior.compile()
    schedule = Schedule(1.0, 0, 10**9, Clock(1e9, 2e9))
    schedule.set_model(prior)
    schedule.on_train_begin()
    schedule.on_train_batch_begin(0)
    assert float(prior.optimizer.learning_rate) == pytest.approx(0.5, abs=1e-4)


def test_a_clock_face() -> None:
    assert [clock_face(seconds) for seconds in (0.2, 65, 3723)] == ["0:00", "1:05", "1:02:03"]


class Passing(keras.callbacks.Callback):
    """A clock on which a step of training takes a second, and one of validation a hundred."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.now += 1

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.now += 100


def test_images_per_second_are_those_of_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, images, prior = Passing(), made(40).x_train, build_prior(made(), MODEL)
    monkeypatch.setattr("tfprior.training.images_per_second.time", clock)
    prior.compile()
    callbacks = [ImagesPerSecond(), keras.callbacks.CSVLogger(tmp_path / "metrics.csv"), clock]
    history = prior.fit(
        images,
        sample_weight=np.full(40, 3.0),  # which make no more images of them
        validation_data=images,
        batch_size=12,  # the last batch has four
        epochs=2,
        verbose=0,
        callbacks=callbacks,
    ).history
    assert history["images_per_second"] == [28 / 3, 40 / 4]  # the first step compiles
    assert "images_per_second" in (tmp_path / "metrics.csv").read_text().splitlines()[0]
    evaluated = prior.evaluate(images, verbose=0, callbacks=callbacks[:1], return_dict=True)
    assert set(evaluated) == {"loss", "bits_per_dim"}
