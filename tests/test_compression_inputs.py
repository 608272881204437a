"""What cannot be compressed is refused in one sentence, and an interruption stops."""

import contextlib
import signal
import sys
from typing import Any

import numpy as np
import pytest
from catalogue import GREY, condition_of, features, prior, values_of

from tfprior.compression import compress, decompress
from tfprior.compression.batches import Contents, code_batches
from tfprior.compression.coder import Encoder
from tfprior.distributions import DiscretizedLogistic
from tfprior.priors import GatedPixelCNN, PixelCNN, Prior


@pytest.fixture(scope="module")
def grey() -> Prior:
    return prior(GatedPixelCNN, GREY)


def test_conditions_are_checked() -> None:
    labelled, vectors = prior(PixelCNN, GREY, "labels"), prior(PixelCNN, GREY, "vectors")
    values, given = values_of(vectors), condition_of(vectors)
    data = compress(vectors, values, given)
    np.testing.assert_array_equal(decompress(vectors, data, given.astype("float64")).images, values)
    for wrong, message in [
        (None, "conditional and got condition=None"),
        (given[:2], "2 rows for 3 examples"),
        (given[::-1], r"digest [0-9a-f]{8}; the images were compressed with that of [0-9a-f]{8}"),
    ]:
        with pytest.raises(ValueError, match=message):
            decompress(vectors, data, wrong)
    with pytest.raises(ValueError, match="conditional and got condition=None"):
        compress(labelled, values)
    with pytest.raises(ValueError, match="labels are in the file; leave the condition out"):
        decompress(labelled, compress(labelled, values, [0, 1, 2]), [0, 1, 2])


@pytest.mark.parametrize(
    ("images", "options", "message"),
    [
        (np.zeros((2, *GREY)), {}, "images have dtype float64; expected integers"),
        (np.zeros(GREY, int), {}, "images have shape"),
        (np.full((2, *GREY), 4), {}, r"images lie in \[4, 4\]; expected integers in \[0, 3\]"),
        (np.zeros((0, *GREY), int), {}, "Got 0 images; expected one at least"),
        (np.zeros((2, *GREY), int), {"batch_size": 0}, r"batch_size=0; expected an integer in \[1, 65535\]"),
        (np.zeros((2, *GREY), int), {"batch_size": 2**16}, "batch_size=65536; expected"),
        (np.zeros((2, *GREY), int), {"condition": [1, 2]}, "The prior is unconditional and got a condition"),
    ],
)
def test_what_does_not_fit_is_refused(grey: Prior, images: np.ndarray, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compress(grey, images, **options)


def test_features_are_not_images(grey: Prior) -> None:
    with pytest.raises(ValueError, match="expected integers"):
        compress(grey, features(2, *GREY))


def test_more_levels_than_the_coder_has_are_refused() -> None:
    model = GatedPixelCNN((1, 1, 1), DiscretizedLogistic(70_000), filters=2, num_layers=1)
    with pytest.raises(ValueError, match="70,000 levels; expected 65,536 at most"):
        compress(model, np.zeros((1, 1, 1, 1), int))


def test_a_diverged_prior_compresses_nothing() -> None:
    model = prior(PixelCNN, GREY)
    model.head.bias.assign(np.full(model.head.bias.shape, np.nan))
    with pytest.raises(ValueError, match="NaN for probabilities, so its training diverged"):
        compress(model, values_of(model))


def test_a_missing_coder_is_named(grey: Prior, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'tfprior\[compress\]'"):
        compress(grey, values_of(grey))


def test_an_interruption_that_a_callback_swallowed_still_stops(grey: Prior) -> None:
    class Deaf(Encoder):
        def __call__(self, *arguments: Any) -> np.ndarray:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            return super().__call__(*arguments)

    # What a shell starts in the background hears no Ctrl-C by itself.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            code_batches(grey, Deaf(), Contents(values_of(grey, 5), None), None, 5, 5, None)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
