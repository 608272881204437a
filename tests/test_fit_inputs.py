"""Every way that Keras feeds a model: what is wrong is refused in one sentence, and no weight is spoilt.

Shapes: B batch · H W C grid.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

GRID = (2, 4, 1)
RANGE = r"values of 3 examples lie outside; expected integers in \[0, 3\]: rescale them, or build the distri"
LABELS_OUT = r"Labels of 2 examples lie outside; expected \[0, 2\]: the prior was built with num_classes=3"
GOOD = np.random.default_rng(0).integers(4, size=(12, *GRID)).astype("int32")
LABELS = (np.arange(12) % 3).astype("int32")


def in_batches(*arrays: np.ndarray) -> list[Any]:
    parts = [tuple(array[first : first + 4] for array in arrays) for first in (0, 4, 8)]
    return [part if len(part) > 1 else part[0] for part in parts]


def changed(array: np.ndarray, added: float, count: int) -> np.ndarray:
    """The array with something added to so many examples at its end, in the last batch."""
    added_to = array.copy()
    added_to[-count:] += added
    return added_to


class Indexed(keras.utils.PyDataset):
    def __init__(self, batches: list[Any]) -> None:
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


class Unseen(Indexed):
    """Whose first batch is good when it is looked at before training."""

    def __getitem__(self, index: int) -> Any:
        is_first, self.is_first = self.is_first, False
        return GOOD if is_first else super().__getitem__(index)

    is_first = True


def generated(batches: list[Any]) -> Iterator[Any]:
    yield from batches


def as_dataset(batches: list[Any]) -> Any:
    import tensorflow as tf

    whole = keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
    return tf.data.Dataset.from_tensor_slices(whole).batch(4)


SOURCES = {"generator": generated, "indexed": Indexed, "dataset": as_dataset}
each_source = pytest.mark.parametrize("source", SOURCES)
out_of_data = pytest.mark.filterwarnings("ignore:Your input ran out of data")


def new(distribution: Any = None, jit_compile: bool = False, **options: Any) -> Any:
    from tfprior.distributions import Categorical
    from tfprior.priors import GatedPixelCNN

    small = {"filters": 8, "num_layers": 1, "first_kernel_size": 3, "class_embedding_dim": 4}
    prior = GatedPixelCNN(GRID, distribution or Categorical(4), **{**small, **options})
    prior.compile(optimizer="sgd", jit_compile=jit_compile)
    return prior


def finite(model: Any) -> bool:
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def mixture() -> Any:
    from tfprior.distributions import DiscretizedLogisticMixture

    return DiscretizedLogisticMixture(2, 4)


@out_of_data
@each_source
@pytest.mark.parametrize("method", ["fit", "evaluate"])
@pytest.mark.parametrize("embedding", [None, 3])
def test_values_out_of_range_stop_a_later_batch(source: str, method: str, embedding: Any) -> None:
    prior = new(value_embedding_dim=embedding)
    with pytest.raises(ValueError, match=RANGE) as caught:
        getattr(prior, method)(SOURCES[source](in_batches(changed(GOOD, 4, 3))), verbose=0)
    assert "\n" not in str(caught.value)
    assert finite(prior)
    prior.fit(GOOD, verbose=0)  # and the model is as good as before


@out_of_data
@pytest.mark.xla
@each_source
def test_values_out_of_range_stop_a_mixture_under_xla(source: str) -> None:
    prior = new(mixture(), jit_compile=True)
    with pytest.raises(ValueError, match=RANGE):
        prior.fit(SOURCES[source](in_batches(changed(GOOD, -4, 3))), verbose=0)
    assert finite(prior)


@out_of_data
@each_source
def test_labels_out_of_range_stop_a_later_batch(source: str) -> None:
    prior = new(num_classes=3)
    batches = in_batches(GOOD, changed(LABELS, 3, 2))
    for method in ("fit", "evaluate"):
        with pytest.raises(ValueError, match=LABELS_OUT):
            getattr(prior, method)(SOURCES[source](batches), verbose=0)
    assert finite(prior)


def test_conditions_without_numbers_stop_a_later_batch() -> None:
    prior, condition = new(condition_shape=(2,)), np.zeros((12, 2), "float32")
    batches = in_batches(GOOD, changed(condition, np.nan, 1))
    with pytest.raises(
        ValueError, match=r"The condition of 1 example holds NaN or infinity; expected finite"
    ):
        prior.fit(generated(batches), verbose=0)
    assert finite(prior)


def test_a_refused_batch_moves_no_weight() -> None:
    prior = new()
    before = prior.get_weights()
    with pytest.raises(ValueError, match=RANGE):
        prior.fit(Unseen([changed(GOOD, 4, 3)]), verbose=0)
    for weight, kept in zip(prior.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, kept)


@out_of_data
@each_source
def test_predictions_are_parameters_or_refused(source: str) -> None:
    prior = new()
    expected = prior(GOOD)
    predicted = prior.predict(SOURCES[source](in_batches(GOOD)), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"3 examples hold values outside \[0, 3\]"):
        prior.predict(SOURCES[source](in_batches(changed(GOOD, 4, 3))), verbose=0)
    np.testing.assert_allclose(prior.predict(GOOD, batch_size=5, verbose=0), expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(prior.predict_on_batch(GOOD), expected, rtol=0, atol=1e-5)


WRONG = [
    (GOOD / 3, r"values have dtype float64; expected integers: a prior models discrete values"),
    (GOOD[:, :1], r"values have shape \(\w+, 1, 4, 1\); expected \(batch, 2, 4, 1\)"),
    (GOOD[..., 0], r"values have shape \(\w+, 2, 4\); expected \(batch, 2, 4, 1\): add a channel axis"),
]


@each_source
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize(("values", "message"), WRONG, ids=["floats", "grid", "channels"])
def test_type_and_shape_are_refused_from_every_source(
    source: str, method: str, values: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(new(), method)(SOURCES[source](in_batches(values)), verbose=0)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch", "predict_on_batch", "__call__"])
@pytest.mark.parametrize(
    ("values", "message"),
    [*WRONG, (GOOD + 1, r"values lie in \[1, 4\]; expected"), (GOOD[:0], "Got an empty (batch|dataset)")],
)
def test_single_batches_are_refused(method: str, values: np.ndarray, message: str) -> None:
    prior = new()
    before = prior.get_weights()
    with pytest.raises(ValueError, match=message):
        getattr(prior, method)(values)
    np.testing.assert_array_equal(prior.get_weights()[0], before[0])


def test_a_call_without_a_batch_axis_says_how_to_add_one() -> None:
    with pytest.raises(
        ValueError, match=r"shape \(2, 4, 1\); .*: add a batch axis with values\[None\], of a"
    ):
        new()(GOOD[0])
    with pytest.raises(ValueError, match=r"Got a tuple to call a prior with; expected values, or a dict"):
        new(num_classes=3)((GOOD, LABELS))


def test_functional_models_are_refused_when_they_are_built() -> None:
    prior = new()
    with pytest.raises(ValueError, match=r"values have dtype float32; expected integers"):
        prior(keras.Input(GRID))
    with pytest.raises(ValueError, match=r"values have shape \(None, 3, 4, 1\); expected \(batch, 2, 4, 1\)"):
        prior(keras.Input((3, 4, 1), dtype="int32"))
    values = keras.Input(GRID, dtype="int32")
    model = keras.Model(values, prior(values))
    np.testing.assert_allclose(model.predict(GOOD, verbose=0), prior(GOOD), rtol=0, atol=1e-5)


def test_tokenizers_are_fed_alike() -> None:
    from tfprior.distributions import DiscretizedLogistic
    from tfprior.quantizers import VectorQuantizer
    from tfprior.tokenizers import VQVAE

    tokenizer = VQVAE((4, 4, 1), VectorQuantizer(4, 2), DiscretizedLogistic(4), downsampling=2, filters=4)
    tokenizer.compile(optimizer="sgd", jit_compile=False)
    images = np.random.default_rng(0).integers(4, size=(12, 4, 4, 1)).astype("uint8")
    with pytest.raises(ValueError, match=RANGE):  # a generator gives its first batch for the codebook too
        tokenizer.fit(generated(in_batches(changed(images, 4, 3))), verbose=0)
    assert finite(tokenizer)
    assert not tokenizer.needs_initialization
    params = tokenizer.predict(images, batch_size=5, verbose=0)
    np.testing.assert_allclose(params, tokenizer(images).params, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="images have dtype float64; expected integers"):
        tokenizer(images / 3)
    with pytest.raises(ValueError, match="A tokenizer has no condition; pass the images alone"):
        tokenizer.fit(generated(in_batches(images, LABELS)), verbose=0)


def on_jax() -> None:
    """The routes on the other backend, whose loops keep the weights to themselves."""
    for prior, batches, message in [
        (new(mixture(), jit_compile=True), in_batches(changed(GOOD, 4, 3)), RANGE),
        (new(jit_compile=True, num_classes=3), in_batches(GOOD, changed(LABELS, 3, 2)), LABELS_OUT),
    ]:
        with pytest.raises(ValueError, match=message):
            prior.fit(Indexed(batches), verbose=0)
        assert finite(prior)
    with pytest.raises(ValueError, match=message):
        prior.evaluate(Indexed(batches), verbose=0)
    assert finite(prior)
    condition = {"values": GOOD, "condition": LABELS}
    weights = np.linspace(0, 2, 12).astype("float32")
    bits = np.asarray(prior.bits_per_dim(GOOD, LABELS))
    scores = prior.evaluate(condition, sample_weight=list(weights), return_dict=True, verbose=0)
    np.testing.assert_allclose(scores["bits_per_dim"], np.average(bits, weights=weights), rtol=1e-5)
    expected = prior(condition)
    predicted = prior.predict(Indexed([(GOOD, LABELS)]), verbose=0)
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    history = prior.fit(
        GOOD, LABELS, sample_weight=weights, validation_split=0.5, batch_size=6, verbose=0
    ).history
    bits = np.asarray(prior.bits_per_dim(GOOD[6:], LABELS[6:]))
    np.testing.assert_allclose(
        history["val_bits_per_dim"], [np.average(bits, weights=weights[6:])], rtol=1e-5
    )
    import jax

    from tfprior.sampling import sample

    with pytest.raises(ValueError, match="sample was called while a graph is traced"):
        jax.jit(lambda: sample(prior, 2, LABELS[:2]))()
    print("done on", keras.backend.backend())


def test_the_routes_on_jax() -> None:
    pytest.importorskip("jax", reason="JAX is not installed here: the base install runs on TensorFlow")
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",  # compiling takes longest
        "PYTHONPATH": path,
    }
    run = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "done on jax"


if __name__ == "__main__":
    on_jax()
