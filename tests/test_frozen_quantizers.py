"""`trainable = False` freezes all that moves in training, codebooks that follow averages too."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import TOKENIZERS, Entry, features
from keras import layers
from small_quantizers import SMALL, WITH_CODEBOOK, contents

from tfprior.distributions import DiscretizedLogistic
from tfprior.quantizers import ResidualVectorQuantizer, VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2

each_codebook = pytest.mark.parametrize("name", WITH_CODEBOOK)
each_tokenizer = pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
X = features(32, 5)


def model_around(quantizer: Any) -> tuple[keras.Model, keras.Model]:
    """A model with a head that trains, and the part of it that ends with the quantizer."""
    inputs = keras.Input((5,))
    inner = keras.Model(inputs, quantizer(layers.Dense(6)(inputs)).quantized)
    outputs = layers.Dense(2)(inner(inputs))
    return keras.Model(inputs, outputs), inner


def train(model: keras.Model, run_eagerly: bool = True) -> None:
    # Compiled anew, as Keras asks after a change of `trainable`.
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss="mse", run_eagerly=run_eagerly)
    model.train_on_batch(X, X[:, :2])
    model.fit(X, X[:, :2], batch_size=16, verbose=0)


@pytest.mark.each_once
@each_codebook
@pytest.mark.parametrize("through", ["layer", "model", "constructor"])
def test_a_frozen_quantizer_stays_and_moves_again(name: str, through: str) -> None:
    run_eagerly = name != "vector"  # a graph takes seconds to be made
    quantizer = SMALL[name](trainable=through != "constructor")
    if through == "layer":
        quantizer.initialize(features(40, 6))
    model, inner = model_around(quantizer)
    frozen: Any = inner if through == "model" else quantizer
    frozen.trainable = False
    before, head = contents(quantizer), contents(model.layers[-1])
    train(model, run_eagerly)
    assert contents(quantizer) == before
    assert all(kept != now for kept, now in zip(head, contents(model.layers[-1]), strict=True))
    frozen.trainable = True
    train(model, run_eagerly)
    for weight, kept in zip(quantizer.weights, before, strict=False):
        if "is_initialized" not in weight.path:
            assert np.asarray(weight.value).tobytes() != kept, weight.path


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_moves_nothing(name: str) -> None:
    quantizer = SMALL[name]()
    model, _ = model_around(quantizer)
    before = contents(model)
    quantizer(features(20, 6), training=False)
    model(X, training=False)
    model.compile(optimizer="sgd", loss="mse", run_eagerly=True)
    model.test_on_batch(X, X[:, :2])
    assert contents(model)[: len(before)] == before


def test_one_frozen_part_stays_and_the_others_move() -> None:
    quantizer = ResidualVectorQuantizer([VectorQuantizer(8, 6) for _ in range(2)])
    first, second = quantizer.quantizers
    model, _ = model_around(quantizer)
    first.trainable = False
    assert quantizer.needs_initialization
    before, other = contents(first), contents(second)
    quantizer.initialize(features(40, 6))
    assert contents(first) == before
    assert contents(second) != other
    other = contents(second)
    train(model)
    assert contents(first) == before
    assert contents(second) != other


@each_codebook
def test_a_frozen_quantizer_refuses_to_be_initialized(name: str) -> None:
    quantizer = SMALL[name](trainable=False)
    assert not quantizer.needs_initialization
    with pytest.raises(ValueError, match="Quantizer is frozen; set trainable = True before initialize"):
        quantizer.initialize(features(20, 6))


def test_a_frozen_quantizer_is_frozen_when_it_comes_from_a_file(tmp_path: Any) -> None:
    quantizer = SMALL["residual"]()
    model, _ = model_around(quantizer)
    quantizer.trainable = False
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    (again,) = [layer for layer in loaded._flatten_layers() if isinstance(layer, ResidualVectorQuantizer)]
    train(loaded)
    for kept, now in zip(quantizer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


# Tokenizers ----------------------------------------------------------------------------------------------


def fit(tokenizer: Any, images: np.ndarray, run_eagerly: bool = True) -> None:
    tokenizer.compile(optimizer=keras.optimizers.Adam(0.1), run_eagerly=run_eagerly)
    tokenizer.train_on_batch(images)
    tokenizer.fit(images, verbose=0)


class Holder(keras.Model):
    """A model of a user that has a tokenizer inside."""

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer


FREEZE: dict[str, Callable[[Any], Any]] = {
    "quantizers": lambda tokenizer: tokenizer.quantizers,
    "tokenizer": lambda tokenizer: [tokenizer],
    "holder": lambda tokenizer: [Holder(tokenizer)],
}


@pytest.mark.slow("VQVAE1")
@pytest.mark.each_once
@each_tokenizer
@pytest.mark.parametrize("through", FREEZE)
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_frozen_codebooks_of_a_tokenizer_stay_and_move_again(entry: Entry, through: str) -> None:
    tokenizer, images = entry.build(), entry.inputs()
    run_eagerly = (through, entry) != ("tokenizer", TOKENIZERS[0])
    frozen = FREEZE[through](tokenizer)
    for each in frozen:
        each.trainable = False
    assert not tokenizer.needs_initialization
    codebooks = [contents(quantizer) for quantizer in tokenizer.quantizers]
    network = [weight.numpy() for weight in tokenizer.weights if "quantizer" not in weight.path]
    fit(tokenizer, images, run_eagerly)
    assert [contents(quantizer) for quantizer in tokenizer.quantizers] == codebooks
    now = [weight.numpy() for weight in tokenizer.weights if "quantizer" not in weight.path]
    moved = [not np.array_equal(a, b) for a, b in zip(network, now, strict=True)]
    assert any(moved) == (through == "quantizers")
    for each in frozen:
        each.trainable = True
    assert tokenizer.needs_initialization
    fit(tokenizer, images, run_eagerly)
    assert not tokenizer.needs_initialization
    for quantizer, before in zip(tokenizer.quantizers, codebooks, strict=True):
        assert contents(quantizer)[0] != before[0]


def test_a_tokenizer_built_frozen_stays() -> None:
    tokenizer = VQVAE((4, 4, 1), VectorQuantizer(8, 3), DiscretizedLogistic(16), filters=4, trainable=False)
    before = contents(tokenizer.quantizer)
    images = np.arange(32, dtype="int32").reshape(2, 4, 4, 1) % 16
    tokenizer.compile(optimizer="adam", run_eagerly=True)
    with pytest.warns(UserWarning, match="does not have any trainable weights"):
        tokenizer.fit(images, verbose=0)
    assert contents(tokenizer.quantizer) == before


def test_an_unfrozen_codebook_starts_from_data_and_leaves_the_others() -> None:
    keras.utils.set_random_seed(0)
    (entry,) = [entry for entry in TOKENIZERS if entry.kind is VQVAE2]
    tokenizer, images = entry.build(), entry.inputs()
    top, bottom = tokenizer.quantizers
    top.trainable = False
    fit(tokenizer, images)
    assert (top.needs_initialization, bottom.needs_initialization) == (False, False)
    top.trainable = True
    assert (top.needs_initialization, bottom.needs_initialization) == (True, False)
    before = contents(bottom), contents(top)
    tokenizer.initialize(images)
    assert contents(bottom) == before[0]
    assert contents(top)[0] != before[1][0]
    assert not tokenizer.needs_initialization


def test_layers_of_the_encoder_are_frozen_alone() -> None:
    tokenizer, images = TOKENIZERS[0].build(), TOKENIZERS[0].inputs()
    for layer in tokenizer.encoder:
        layer.trainable = False
    before = [contents(layer) for layer in tokenizer.encoder]
    others = [contents(layer) for layer in (*tokenizer.decoder, tokenizer.quantizer) if layer.weights]
    fit(tokenizer, images)
    assert [contents(layer) for layer in tokenizer.encoder] == before
    now = [contents(layer) for layer in (*tokenizer.decoder, tokenizer.quantizer) if layer.weights]
    for kept, moved in zip(others, now, strict=True):
        assert kept[0] != moved[0]
