"""What happens while a run trains, and its optimizer."""

import math

import keras
import numpy as np
import pytest
from small_runs import MODEL, made

from tfprior.registry import build_prior
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
