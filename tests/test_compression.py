"""Lossless compression: images come back, and take no more than the model says.

Most graphs run without XLA, which takes seconds to compile each and changes none of what is checked here.
"""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import GREY, PRIORS, Entry, condition_of, integers, prior, randomise, values_of

from tfprior.compression import compress, decompress
from tfprior.distributions import Categorical, DiscretizedLogistic, Gaussian
from tfprior.generator import Generator
from tfprior.priors import AutoregressivePrior, GatedPixelCNN, PixelCNN
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2

COUNT = 5
"""Images: two batches of four, the last one filled up."""
HEADER, WORDS = 54, 8
"""Bytes: of the header, and of two words that the coder may end with."""


def bits_of(model: Any, values: np.ndarray, condition: np.ndarray | None) -> float:
    """What the model says that images take, and their labels."""
    nats = np.asarray(model.log_prob(values, condition), "float64").sum()
    return -nats / math.log(2) + len(values) * math.log2(model.num_classes or 1)


def assert_round_trip(model: Any, values: np.ndarray, condition: np.ndarray | None) -> bytes:
    data = compress(model, values, condition, batch_size=3)
    has_labels = model.num_classes is not None
    images, labels = decompress(model, data, None if has_labels else condition)
    np.testing.assert_array_equal(images, values)
    if has_labels:
        np.testing.assert_array_equal(labels, condition)
    else:
        assert labels is None
    assert len(data) <= HEADER + 1.01 * bits_of(model, values, condition) / 8 + WORDS
    return data


@pytest.mark.slow("GatedPixelCNN", "grid_shape=(2")
@pytest.mark.parametrize("entry", PRIORS[::2], ids=str)  # of each kind one, and coupled channels
def test_every_prior_gives_back_its_images(entry: Entry) -> None:
    model = randomise(entry.build())
    values, condition = values_of(model, COUNT), condition_of(model, COUNT)
    data = assert_round_trip(model, values, condition)
    assert len(data) >= HEADER + 0.99 * bits_of(model, values, condition) / 8 - WORDS  # nothing takes less


@pytest.mark.parametrize(
    "distribution", [Categorical(256), DiscretizedLogistic(256), Gaussian(256, 0.1), Categorical(5000)]
)
def test_many_levels_stay_within_the_bound(distribution: Any) -> None:
    model = prior(PixelCNN, GREY, distribution=distribution)
    assert_round_trip(model, values_of(model, COUNT), None)


def test_values_without_a_probability_are_kept() -> None:
    model = GatedPixelCNN(GREY, Categorical(4), filters=4, num_layers=1, first_kernel_size=3)
    model.head.bias.assign([0.0, 0.0, 0.0, 500.0])
    values = values_of(model, 1)
    data = compress(model, values)
    np.testing.assert_array_equal(decompress(model, data).images, values)
    assert len(data) <= HEADER + 3 * values.size + WORDS  # 24 bits each
    sure = np.full((500, *GREY), 3)
    assert len(compress(model, sure)) <= HEADER + WORDS


def test_labels_of_one_class_take_nothing() -> None:
    model = prior(PixelCNN, GREY, num_classes=1)
    values = values_of(model, COUNT)
    assert_round_trip(model, values, np.zeros(COUNT, "int32"))


class AnyPrior(AutoregressivePrior):
    """No raster prior: one state that every step renews as a whole."""

    def __init__(self, inner: AutoregressivePrior) -> None:
        super().__init__(inner.grid_shape, inner.distribution, inner.num_classes, inner.condition_shape)
        self.inner = inner
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.inner(inputs, training=training)

    def state_spec(self) -> Any:
        return self.inner.state_spec()

    def encode_condition(self, condition: Any) -> Any:
        return self.inner.encode_condition(condition)

    def advance(self, state: Any, previous: Any, position: Any) -> Any:
        return self.inner.advance(state, previous, position)

    def params_at(self, state: Any, position: Any, current: Any = None) -> Any:
        return self.inner.params_at(state, position, current)


@pytest.mark.parametrize("condition", ["none", "vectors"])
def test_a_prior_that_only_knows_steps(condition: str) -> None:
    model = AnyPrior(prior(GatedPixelCNN, (2, 3, 3), condition))
    assert_round_trip(model, values_of(model, COUNT), condition_of(model, COUNT))


@pytest.mark.parametrize("conditional", [False, True])
def test_a_generator_codes_through_its_tokenizer(conditional: bool) -> None:
    tokenizer = randomise(VQVAE((4, 8, 1), VectorQuantizer(8, 4), DiscretizedLogistic(16), filters=6))
    options = {"num_classes": 3} if conditional else {}
    of_codes = catalogue.arguments(GatedPixelCNN, tokenizer.code_shape, distribution=Categorical(8))
    model = Generator(tokenizer, randomise(GatedPixelCNN(**of_codes, **options)))
    images = integers(COUNT, 4, 8, 1, top=16)
    assert_round_trip(model, images, np.arange(COUNT) % 3 if conditional else None)


def test_a_generator_of_two_grids_codes_coupled_channels() -> None:
    quantizers = VectorQuantizer(8, 4), VectorQuantizer(6, 3)
    tokenizer = randomise(
        VQVAE2((8, 4, 3), *quantizers, DiscretizedLogistic(16), 2, 6, num_residual_blocks=1)
    )
    priors = [
        prior(
            GatedPixelCNN,
            shape,
            distribution=Categorical(size),
            **({} if condition is None else {"condition_shape": condition}),
        )
        for shape, size, condition in zip(
            tokenizer.code_shapes, tokenizer.codebook_sizes, tokenizer.condition_shapes, strict=True
        )
    ]
    assert_round_trip(Generator(tokenizer, priors), integers(COUNT, 8, 4, 3, top=16), None)


@pytest.mark.xla
def test_another_process_gives_back_the_images(tmp_path: Path) -> None:
    model = prior(GatedPixelCNN, GREY, "labels")
    values, labels = values_of(model, COUNT), condition_of(model, COUNT)
    (tmp_path / "images").write_bytes(compress(model, values, labels, batch_size=3))
    model.save(tmp_path / "prior.keras")
    code = (
        "import os, pathlib, sys\n"
        "if hasattr(os, 'sched_setaffinity'):\n"
        "    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "import numpy as np, tfprior\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "model = tfprior.runs.load_prior(folder / 'prior.keras')\n"
        "data = (folder / 'images').read_bytes()\n"
        "images, labels = tfprior.compression.decompress(model, data)\n"
        "np.savez(folder / 'images.npz', images=images, labels=labels)\n"
    )
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    run = subprocess.run(
        [sys.executable, "-c", code, tmp_path], env=environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    with np.load(tmp_path / "images.npz") as found:
        np.testing.assert_array_equal(found["images"], values)
        np.testing.assert_array_equal(found["labels"], labels)
