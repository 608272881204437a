"""Data that a prior cannot learn from is refused in one sentence, before any weight moves."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from catalogue import GREY, each_kind, integers, prior_like, values_of

from tfprior.priors import PixelCNN

GOOD = integers(4, *GREY)
LABELS = np.array([0, 1, 2, 0])
NOT_A_NUMBER = np.full((4, *GREY), np.nan, "float32")


def data_of(values: Any, *others: Any) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((values, *others) if others else values).batch(2)


def labelled(condition: Any = LABELS, values: Any = GOOD) -> dict[str, Any]:
    return {"values": values, "condition": condition}


BAD_BATCHES: list[tuple[str, Any, str]] = [
    ("none", GOOD + 1, r"values lie in \[1, 4\]; expected integers in \[0, 3\]"),
    ("none", GOOD - 1, r"values lie in \[-1, 2\]; expected integers in \[0, 3\]"),
    ("none", GOOD / 3, r"values have dtype float64; expected integers"),
    ("none", tf.constant(GOOD, "float32"), r"values have dtype float32; expected integers"),
    ("none", NOT_A_NUMBER, r"values have dtype float32; expected integers"),
    ("none", GOOD[..., 0], r"values have shape \(4, 4, 6\); expected \(batch, 4, 6, 1\): add a channel axis"),
    ("none", GOOD[0], r"values have shape \(4, 6, 1\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD.repeat(3, -1), r"values have shape \(4, 4, 6, 3\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD.swapaxes(1, 2), r"values have shape \(4, 6, 4, 1\); expected \(batch, 4, 6, 1\)"),
    ("none", GOOD[:0], r"empty dataset; expected at least one example"),
    ("none", [GOOD, GOOD], r"expected"),
    ("none", GOOD.tolist(), r"expected"),
    ("none", None, r"expected"),
    ("none", labelled(), r"The prior is unconditional and got a condition"),
    ("none", {"images": GOOD}, r"keys \['images'\]; expected 'values' and 'condition'"),
    ("labels", {**labelled(), "y": GOOD}, r"keys \['condition', 'values', 'y'\]; expected"),
    ("labels", GOOD, r"The prior is conditional and got condition=None; expected integer labels"),
    ("labels", labelled(LABELS + 1), r"Labels lie in \[1, 3\]; expected \[0, 2\]: .*num_classes=3"),
    ("labels", labelled(LABELS - 1), r"Labels lie in \[-1, 1\]; expected \[0, 2\]"),
    ("labels", labelled(LABELS / 2), r"condition has dtype float64; expected integer labels"),
    ("labels", labelled(LABELS[:3]), r"condition has 3 rows for 4 examples"),
    ("labels", labelled(LABELS[:, None]), r"condition has shape \(4, 1\); expected integer labels"),
    ("labels", labelled(np.eye(3)[LABELS]), r"condition has shape \(4, 3\); expected integer labels"),
    ("vectors", labelled(np.zeros((4, 5))), r"condition has shape \(4, 5\); expected floats .*\(batch, 4\)"),
    ("vectors", labelled(np.full((4, 4), np.nan)), r"condition holds NaN or infinity"),
    ("vectors", labelled(LABELS), r"condition has shape \(4,\); expected floats"),
    ("maps", labelled(np.zeros((4, 6, 4, 2))), r"condition has shape \(4, 6, 4, 2\); expected floats"),
    ("maps", labelled(np.full((4, 4, 6, 2), np.inf)), r"condition holds NaN or infinity"),
    ("none", data_of(GOOD / 3), r"values have dtype float64; expected integers"),
    ("none", data_of(GOOD[..., 0]), r"values have shape \(None, 4, 6\); expected"),
    ("none", data_of(GOOD).unbatch(), r"values have shape \(4, 6, 1\); expected"),
    (
        "none",
        data_of(GOOD, LABELS),
        r"dataset of 2-tuples; expected values, or a dict .*map\(lambda images, labels: images\)",
    ),
    ("none", data_of(GOOD).take(0), r"empty dataset; expected at least one example"),
    ("none", data_of(GOOD + 1), r"values lie in \[\d, 4\]; expected integers in \[0, 3\]"),
    ("labels", data_of(GOOD), r"The prior is conditional and got condition=None"),
    ("labels", data_of(labelled(LABELS / 2)), r"condition has dtype float64; expected integer labels"),
    ("labels", data_of(labelled(LABELS + 2)), r"Labels lie in \[2, \d\]; expected \[0, 2\]"),
    ("vectors", data_of(labelled(np.zeros((4, 5)))), r"condition has shape \(None, 5\); expected floats"),
]


@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize(("condition", "batch", "message"), BAD_BATCHES)
def test_bad_data_is_refused_before_training(condition: str, batch: Any, message: str, method: str) -> None:
    prior = prior_like(PixelCNN, GREY, condition)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=message) as caught:
        getattr(prior, method)(batch, verbose=0, **({"shuffle": False} if method == "fit" else {}))
    assert str(caught.value).count("\n") == 0
    for weight, kept in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@pytest.mark.parametrize(
    "batch", [GOOD + 1, (GOOD / 3,), data_of(GOOD / 3)], ids=["range", "tuple", "dataset"]
)
def test_bad_validation_data_is_refused_before_training(batch: Any) -> None:
    prior = prior_like(PixelCNN)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"values (lie in|have dtype).*expected integers"):
        prior.fit(GOOD, validation_data=batch, verbose=0)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


def test_validation_targets_are_refused_before_training() -> None:
    prior = prior_like(PixelCNN)
    before = prior.get_weights()
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Got targets y; a prior learns the values themselves"):
        prior.fit(GOOD, validation_data=(GOOD, LABELS), verbose=0)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_targets_are_refused(method: str) -> None:
    prior = prior_like(PixelCNN)
    prior.compile(optimizer="sgd", run_eagerly=True)
    with pytest.raises(ValueError, match=r"Got targets y; a prior learns the values themselves"):
        getattr(prior, method)(GOOD, LABELS)


NUMPY_BATCHES = [case for case in BAD_BATCHES if isinstance(case[1], np.ndarray) and case[1].size]


@pytest.mark.parametrize("method", ["log_prob", "pixel_log_prob", "bits_per_dim"])
@pytest.mark.parametrize(("condition", "values", "message"), NUMPY_BATCHES)
def test_bad_values_have_no_likelihood(condition: str, values: Any, message: str, method: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(prior_like(PixelCNN, GREY, condition), method)(values)


LABELLED_BATCHES = [
    case for case in BAD_BATCHES if isinstance(case[1], dict) and set(case[1]) == set(labelled())
]


@pytest.mark.parametrize(("condition", "batch", "message"), LABELLED_BATCHES)
def test_bad_conditions_have_no_likelihood(condition: str, batch: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prior_like(PixelCNN, GREY, condition).log_prob(batch["values"], batch["condition"])


@each_kind
@pytest.mark.parametrize("condition", ["labels", "maps"])
def test_a_conditional_prior_never_runs_without_its_condition(kind: Any, condition: str) -> None:
    prior = prior_like(kind, GREY, condition)
    values = values_of(prior, 2)
    for run in (
        lambda: prior(values),
        lambda: prior.predict(values, verbose=0),
        lambda: prior.initial_state(2),
    ):
        with pytest.raises(ValueError, match="is conditional and got condition=None"):
            run()
