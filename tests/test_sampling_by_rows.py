"""Grids are drawn row by row for someone who watches, and progress is shown."""

import threading
from typing import Any

import numpy as np
import pytest
from catalogue import COLOUR, GREY, condition_of, prior_like
from drawing import SIZE, assert_same_integers, completion

from tfprior.priors import GatedPixelCNN
from tfprior.sampling import draw, sample, sample_rows


@pytest.mark.xla
def test_rows_come_one_after_the_other() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    given = condition_of(prior, SIZE)
    options: dict[str, Any] = {"condition": given, "seed": 3, "top_k": 3, **completion(prior)}
    height, width, channels = COLOUR
    rows = list(sample_rows(prior, SIZE, **options))
    assert [(row.shape, row.dtype) for row in rows] == [((SIZE, width, channels), "int32")] * height
    expected = sample(prior, SIZE, **options)
    assert_same_integers(np.stack(rows, axis=1), expected)
    assert_same_integers(sample(prior, SIZE, **options, progress=True), expected)


def test_progress_is_shown_of_one_group_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    expected = sample(prior, SIZE, seed=3)
    monkeypatch.setattr(draw, "AT_ONCE", 6)
    assert_same_integers(sample(prior, SIZE, seed=3, progress=True), expected)


def test_whoever_has_seen_enough_may_stop() -> None:
    prior = prior_like(GatedPixelCNN, COLOUR, "labels")
    given = condition_of(prior, SIZE)
    before = threading.active_count()
    growing = sample_rows(prior, SIZE, condition=given, seed=3)
    assert_same_integers(next(growing), sample(prior, SIZE, given, seed=3)[:, 0])
    growing.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("method", ["cached", "parallel"])
def test_progress_is_shown_on_a_terminal(
    method: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior = prior_like(GatedPixelCNN, GREY)
    sample(prior, SIZE, seed=0, method=method, progress=True)
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("FORCE_COLOR", "1")
    sample(prior, SIZE, seed=0, method=method, progress=True)
    assert "drawing" in capsys.readouterr().out
