"""Quantizers in models of a user's own: they add their loss and move their codebooks by themselves.

Shapes: B batch · D size of a vector · G codes of a vector.
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import TOKENIZERS, Entry, features
from keras import layers
from small_quantizers import SMALL, WITH_CODEBOOK, initialized

import tfprior.quantizers.base
from tfprior.quantizers import ResidualVectorQuantizer, VectorQuantizer

each_quantizer = pytest.mark.parametrize("name", SMALL)
each_codebook = pytest.mark.parametrize("name", WITH_CODEBOOK)
X = features(64, 4, 5, 3)


def functional(quantizer: Any, shape: tuple[Any, ...] = (4, 5, 3)) -> keras.Model:
    inputs = keras.Input(shape)
    quantized = quantizer(layers.Conv2D(quantizer.code_dim, 1, name="encoder")(inputs)).quantized
    return keras.Model(inputs, layers.Conv2D(3, 1)(quantized))


@keras.saving.register_keras_serializable("tests")
class Subclassed(keras.Model):
    def __init__(self, quantizer: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.encoder = layers.Conv2D(quantizer.code_dim, 1)
        self.quantizer = quantizer
        self.decoder = layers.Conv2D(3, 1)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.decoder(self.quantizer(self.encoder(inputs), training=training).quantized)


def copy_of(quantizer: Any) -> Any:
    """One of the same weights, that `update` alone moves."""
    copy = type(quantizer).from_config(quantizer.get_config())
    copy.build((None, quantizer.code_dim))
    copy.set_weights(quantizer.get_weights())
    copy.learns_by_itself = False
    return copy


def assert_same_weights(first: Any, second: Any, atol: float = 1e-6) -> None:
    for ours, theirs in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=atol)


@pytest.mark.xla
@pytest.mark.parametrize("build", [functional, Subclassed])
def test_a_model_around_a_quantizer_learns_by_plain_compile_and_fit(build: Any) -> None:
    keras.utils.set_random_seed(0)
    quantizer = VectorQuantizer(16, 4)
    model = build(quantizer)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
    history = model.fit(X, X, batch_size=16, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    assert not quantizer.needs_initialization
    # Codes stand for the vectors that choose them: their mean is near.
    vectors = np.asarray(model.get_layer("encoder")(X) if build is functional else model.encoder(X))
    result = quantizer(vectors)
    assert len(np.unique(result.codes)) > 12
    assert np.mean((vectors - result.quantized) ** 2) < 0.4 * vectors.var()


@each_quantizer
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_training_adds_the_loss_and_updates_once(name: str) -> None:
    z = features(30, 6)
    quantizer = initialized(name, z)
    inputs = keras.Input((6,))
    model = keras.Model(inputs, quantizer(inputs).quantized)
    other, target = copy_of(quantizer), np.zeros_like(z)
    result = other(z, training=True)
    total = float(np.mean(np.square(result.quantized)) + result.loss)
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse", run_eagerly=True)
    assert model.test_on_batch(z, target) == pytest.approx(total, rel=1e-5)
    assert_same_weights(quantizer, other)
    assert float(model.train_on_batch(z, target)) == pytest.approx(total, rel=1e-5)
    other.update(result.statistics)
    assert_same_weights(quantizer, other)


def test_a_composite_adds_one_loss_and_its_parts_none() -> None:
    quantizer = initialized("residual", features(40, 6))
    result = quantizer(features(20, 6), training=True)
    assert [float(loss) for loss in quantizer.losses] == [float(result.loss)]
    assert all(part.losses == [] and not part.learns_by_itself for part in quantizer.quantizers)


@each_codebook
def test_a_loop_of_ones_own_learns(name: str) -> None:
    keras.utils.set_random_seed(0)
    encoder, quantizer = layers.Dense(6), SMALL[name]()
    optimizer, x = keras.optimizers.SGD(0.1), features(40, 3)
    encoder(x)
    for _ in range(3):
        other = copy_of(quantizer) if quantizer.built else None
        vectors = encoder(x)
        with tf.GradientTape() as tape:
            out = quantizer(encoder(x), training=True)
            loss = tf.reduce_mean(tf.square(out.quantized)) + sum(quantizer.losses)
        weights = [*encoder.trainable_weights, *quantizer.trainable_weights]
        gradients = tape.gradient(loss, weights)
        for gradient in gradients:
            slopes = np.asarray(tf.convert_to_tensor(gradient))
            assert np.isfinite(slopes).all()
            assert np.abs(slopes).max() > 0
        assert [float(each) for each in quantizer.losses] == [float(out.loss)]
        if other is not None and name != "gradients":
            other.update(other(vectors, training=True).statistics)
            counts = [weight.path.endswith("counts") for weight in other.weights]
            for one, two, known in zip(quantizer.weights, other.weights, counts, strict=True):
                if known:  # codes may restart from other vectors
                    np.testing.assert_allclose(one.numpy(), two.numpy(), atol=1e-6)
        optimizer.apply_gradients(zip(gradients, weights, strict=True))
    assert not quantizer.needs_initialization


def test_gradients_of_a_codebook_are_those_of_its_loss() -> None:
    quantizer = SMALL["gradients"](initialization="uniform")
    z = features(40, 6)
    quantizer(z)
    with tf.GradientTape() as tape:
        quantizer(z, training=True)
        (loss,) = quantizer.losses
    (slopes,) = tape.gradient(loss, quantizer.trainable_weights)
    codes, codebook = np.asarray(quantizer.encode(z))[:, 0], np.asarray(quantizer.codebook)
    expected = np.zeros_like(codebook)
    np.add.at(expected, codes, -2 * (z - codebook[codes]) / z.size)
    np.testing.assert_allclose(tf.convert_to_tensor(slopes), expected, atol=1e-6)
    assert np.abs(expected).max() > 0


@pytest.mark.parametrize("entry", TOKENIZERS, ids=str)
def test_a_tokenizer_owns_its_quantizers(entry: Entry) -> None:
    tokenizer, images = entry.build(), entry.inputs()
    assert not any(quantizer.learns_by_itself for quantizer in tokenizer.quantizers)
    before = tokenizer.get_weights()
    result = tokenizer(images, training=True)
    assert tokenizer.losses == []
    assert float(result.loss) > 0
    for kept, now in zip(before, tokenizer.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


def test_a_loop_may_own_the_update() -> None:
    quantizer = initialized("vector", features(40, 6))
    quantizer.learns_by_itself = False
    before = np.asarray(quantizer.codebook)
    halves = [quantizer(features(20, 6, seed=seed), training=True).statistics for seed in (1, 2)]
    assert quantizer.losses == []
    np.testing.assert_array_equal(quantizer.codebook, before)
    together = keras.tree.map_structure(lambda a, b: a + b, *halves)
    quantizer.update({**together, "candidates": halves[0]["candidates"]})
    chosen = np.asarray(together["counts"])[0] > 0
    np.testing.assert_array_equal((np.asarray(quantizer.codebook) != before).any(1), chosen)
    assert chosen.sum() > 5


def test_several_replicas_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfprior.quantizers.base, "num_replicas", lambda: 2)
    SMALL["finite"]()(features(3, 6), training=True)  # nothing of it moves
    SMALL["vector"](trainable=False)(features(3, 6), training=True)
    with pytest.raises(
        NotImplementedError, match="VectorQuantizer learns by itself on one device: under this"
    ):
        SMALL["vector"]()(features(3, 6), training=True)


@each_quantizer
def test_sizes_may_be_known_to_the_graph_alone(name: str) -> None:
    quantizer = initialized(name, features(40, 6))
    inputs = keras.Input((None, None, 6))
    result = quantizer(inputs)
    assert result.quantized.shape == (None, None, None, 6)
    assert result.codes.shape == (None, None, None, quantizer.num_codes)
    model = keras.Model(inputs, (result.quantized, result.codes, quantizer.decode(result.codes)))
    for shape in ((2, 3, 4, 6), (3, 5, 2, 6)):
        x = features(*shape)
        expected = quantizer(x)
        quantized, codes, again = model(x)
        np.testing.assert_allclose(quantized, expected.quantized, atol=1e-6)
        np.testing.assert_array_equal(codes, expected.codes)
        np.testing.assert_allclose(again, expected.quantized, atol=1e-6)


# Files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [functional, Subclassed])
def test_a_model_survives_a_keras_file_and_trains_on(build: Any, tmp_path: Path) -> None:
    quantizer = ResidualVectorQuantizer([VectorQuantizer(8, 4) for _ in range(2)])
    model = build(quantizer)
    model.compile(optimizer="adam", loss="mse", run_eagerly=True)
    model.fit(X, X, verbose=0)
    if build is Subclassed:
        model.save_weights(tmp_path / "model.weights.h5")
        loaded: Any = Subclassed(type(quantizer).from_config(quantizer.get_config()))
        loaded(X)
        loaded.load_weights(tmp_path / "model.weights.h5")
        loaded.compile(optimizer="adam", loss="mse", run_eagerly=True)
    else:
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(X), model(X))
    (again,) = [layer for layer in loaded._flatten_layers() if isinstance(layer, ResidualVectorQuantizer)]
    assert not again.needs_initialization
    before = again.get_weights()
    loaded.fit(X, X, verbose=0)
    assert any(not np.array_equal(a, b) for a, b in zip(before, again.get_weights(), strict=True))


def test_a_model_loads_in_a_process_of_its_own(tmp_path: Path) -> None:
    quantizer = ResidualVectorQuantizer([VectorQuantizer(8, 4) for _ in range(2)])
    model = functional(quantizer)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "expected.npy", model(X[:2]))
    np.save(tmp_path / "inputs.npy", X[:2])
    code = """
import keras, numpy as np
import tfprior.quantizers
model = keras.saving.load_model("model.keras")
np.testing.assert_allclose(model(np.load("inputs.npy")), np.load("expected.npy"), atol=1e-6)
print("same")
"""
    root = str(Path(__file__).parent.parent)
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {root!r}){code}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == "same", run.stderr
