"""Weights, labels and validation: the numbers that Keras reports are those written out by hand.

Shapes: B batch · H W C grid.
"""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_sources import GOOD, GRID, LABELS, Indexed, generated, in_batches, new
from PIL import Image

from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator
from tfprior.priors import GatedPixelCNN, PixelCNN, PixelCNNPP
from tfprior.quantizers import VectorQuantizer
from tfprior.sampling import sample
from tfprior.tokenizers import VQVAE

WEIGHTS = np.linspace(0, 2, 12).astype("float32")
IMAGES = np.random.default_rng(0).integers(4, size=(12, 4, 4, 1)).astype("uint8")


def tokenizer() -> VQVAE:
    quantizer = VectorQuantizer(4, 2, initialization="uniform")
    made = VQVAE((4, 4, 1), quantizer, DiscretizedLogistic(4), downsampling=2, filters=4)
    made.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    return made


def still(**options: Any) -> Any:
    """A prior that training does not move."""
    prior = new(**options)
    prior.compile(optimizer=keras.optimizers.SGD(0.0), jit_compile=False)
    return prior


def bits_of(prior: Any, part: slice = slice(None)) -> np.ndarray:
    labels = LABELS[part] if prior.num_classes else None
    return np.asarray(prior.bits_per_dim(GOOD[part], labels))


@pytest.mark.each_once
@pytest.mark.parametrize("as_list", [False, True])
@pytest.mark.parametrize("num_classes", [None, 3])
def test_weights_count_in_training_and_in_validation(num_classes: Any, as_list: bool) -> None:
    prior = still(num_classes=num_classes)
    labels = LABELS if num_classes else None
    weights: Any = WEIGHTS.tolist() if as_list else WEIGHTS
    validation = (GOOD[:6], None if labels is None else labels[:6], weights[:6])
    history = prior.fit(
        GOOD, labels, sample_weight=weights, validation_data=validation, batch_size=12, verbose=0
    ).history
    bits = bits_of(prior)
    assert history["bits_per_dim"] == pytest.approx([np.average(bits, weights=WEIGHTS)], rel=1e-5)
    assert history["loss"] == pytest.approx([np.mean(bits * WEIGHTS) * math.log(2)], rel=1e-5)
    expected = np.average(bits[:6], weights=WEIGHTS[:6])
    assert history["val_bits_per_dim"] == pytest.approx([expected], rel=1e-5)
    scores = prior.evaluate(GOOD, labels, sample_weight=weights, return_dict=True, verbose=0)
    assert scores["bits_per_dim"] == pytest.approx(np.average(bits, weights=WEIGHTS), rel=1e-5)


@pytest.mark.parametrize("num_classes", [None, 3])
def test_weights_are_split_with_their_examples(num_classes: Any) -> None:
    prior = still(num_classes=num_classes)
    data = {"values": GOOD, "condition": LABELS} if num_classes else GOOD
    history = prior.fit(data, sample_weight=WEIGHTS, validation_split=0.25, batch_size=9, verbose=0).history
    bits = bits_of(prior)
    assert history["bits_per_dim"] == pytest.approx([np.average(bits[:9], weights=WEIGHTS[:9])], rel=1e-5)
    assert history["val_bits_per_dim"] == pytest.approx([np.average(bits[9:], weights=WEIGHTS[9:])], rel=1e-5)


def test_weights_of_images_count_for_tokenizers() -> None:
    model = tokenizer()
    history = model.fit(
        IMAGES,
        sample_weight=WEIGHTS.tolist(),
        validation_data=(IMAGES, None, WEIGHTS),
        batch_size=12,
        verbose=0,
    ).history
    nats = -model.pixel_log_prob(IMAGES).sum((1, 2))
    expected = np.average(nats, weights=WEIGHTS) / 16 / math.log(2)
    assert history["val_reconstruction_bits_per_dim"] == pytest.approx([expected], rel=1e-4)


@pytest.mark.parametrize("feed", ["dict", "triples", "dataset of dicts", "generator"])
def test_weights_come_with_their_batches(feed: str) -> None:
    prior = still(num_classes=3)
    batches = in_batches(GOOD, LABELS, WEIGHTS)
    named = {"values": GOOD, "condition": LABELS, "sample_weight": WEIGHTS}
    source = {
        "dict": named,
        "triples": tf.data.Dataset.from_tensor_slices((GOOD, LABELS, WEIGHTS)).batch(5),
        "dataset of dicts": tf.data.Dataset.from_tensor_slices(named).batch(5),
        "generator": generated(batches),
    }[feed]
    history = prior.fit(source, steps_per_epoch=3 if feed == "generator" else None, verbose=0).history
    expected = np.average(bits_of(prior), weights=WEIGHTS)
    assert history["bits_per_dim"] == pytest.approx([expected], rel=1e-5)


@pytest.mark.parametrize("feed", ["arrays", "pairs", "train_on_batch"])
def test_class_weights_weigh_the_labels(feed: str) -> None:
    prior, class_weight = still(num_classes=3), {0: 1.0, 1: 3.0, 2: 0.5}
    if feed == "train_on_batch":
        scores = prior.train_on_batch(GOOD, LABELS, class_weight=class_weight, return_dict=True)
    else:
        data: Any = (GOOD, LABELS) if feed == "arrays" else (Indexed(in_batches(GOOD, LABELS)),)
        history = prior.fit(*data, class_weight=class_weight, verbose=0).history
        scores = {name: score for name, (score,) in history.items()}
    weights = [class_weight[label] for label in LABELS]
    assert scores["bits_per_dim"] == pytest.approx(np.average(bits_of(prior), weights=weights), rel=1e-5)


@pytest.mark.parametrize(
    ("num_classes", "more"), [(None, {}), (3, {"sample_weight": WEIGHTS})], ids=["unlabelled", "both weights"]
)
def test_class_weights_without_labels_are_refused(num_classes: Any, more: dict[str, Any]) -> None:
    labels = LABELS if num_classes else None
    with pytest.raises(ValueError, match=r"Got a class_weight; it weighs the labels .*as sample_weight\.$"):
        new(num_classes=num_classes).fit(GOOD, labels, class_weight={0: 1.0}, verbose=0, **more)


def test_class_weights_need_pairs() -> None:
    named = tf.data.Dataset.from_tensors({"values": GOOD, "condition": LABELS})
    with pytest.raises(ValueError, match=r"class_weight for batches without labels y; expected \(values, la"):
        new(num_classes=3).fit(named, class_weight={0: 1.0}, verbose=0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:3], "Got 3 sample weights for 12 examples; expected one each"),
        (WEIGHTS[:, None], r"Sample weights have shape \(12, 1\) and dtype float32; expected one number"),
        ([math.nan] * 12, "Sample weights hold NaN or infinity; expected finite numbers"),
        (["a"] * 12, r"Sample weights have shape \(12,\) and dtype .*; expected one number for each example"),
    ],
)
def test_bad_weights_are_refused(weights: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        new().fit(GOOD, sample_weight=weights, verbose=0)


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_a_generator_validates_every_epoch_on_all_it_gives() -> None:
    prior = still()
    history = prior.fit(GOOD, validation_data=generated(in_batches(GOOD)), epochs=3, verbose=0).history
    assert history["val_bits_per_dim"] == pytest.approx([bits_of(prior).mean()] * 3, rel=1e-5)


def test_folders_of_images_are_fed_by_keras(tmp_path: Path) -> None:
    for index, image in enumerate(np.random.default_rng(0).integers(256, size=(6, 4, 4)).astype("uint8")):
        (tmp_path / "ab"[index % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "ab"[index % 2] / f"{index}.png")
    dataset = keras.utils.image_dataset_from_directory(
        tmp_path, color_mode="grayscale", image_size=(4, 4), batch_size=3, verbose=False
    )
    prior = GatedPixelCNN(
        (4, 4, 1), Categorical(256), filters=4, num_layers=1, first_kernel_size=3, num_classes=2
    )
    prior.compile(optimizer="sgd", jit_compile=False)
    with pytest.raises(
        ValueError, match=r"values have dtype float32; .*in a dataset tf\.cast\(images, 'uint8"
    ):
        prior.fit(dataset, verbose=0)
    history = prior.fit(dataset.map(lambda images, labels: (tf.cast(images, "uint8"), labels)), verbose=0)
    assert 0 < history.history["bits_per_dim"][0] < 10


@pytest.mark.parametrize("score", ["bits_per_dim", "val_bits_per_dim"])
def test_callbacks_know_that_fewer_bits_are_better(score: str, tmp_path: Path) -> None:
    callbacks: list[Any] = [
        keras.callbacks.EarlyStopping(monitor=score, patience=3),
        keras.callbacks.ReduceLROnPlateau(monitor=score, patience=3),
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", monitor=score, save_best_only=True),
    ]
    prior = new()
    history = prior.fit(GOOD, validation_data=GOOD, epochs=3, callbacks=callbacks, verbose=0).history
    for callback in callbacks:
        assert callback.mode == "min"
    assert callbacks[0].best == pytest.approx(min(history[score]))
    assert callbacks[2].best == pytest.approx(min(history[score]))


def test_callbacks_know_which_scores_of_a_tokenizer_are_better() -> None:
    modes = {"reconstruction_bits_per_dim": "min", "perplexity": "max", "usage": "max", "dead_codes": "min"}
    callbacks = [keras.callbacks.EarlyStopping(monitor=f"val_{name}") for name in modes]
    tokenizer().fit(IMAGES, validation_data=IMAGES, callbacks=callbacks, verbose=0)
    assert [callback.mode for callback in callbacks] == list(modes.values())


# What is said plainly ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"metrics": ["accuracy"]}, {"loss": "mse"}, {"weighted_metrics": ["mse"]}, {"loss_weights": [1.0]}],
    ids=lambda options: next(iter(options)),
)
def test_losses_and_metrics_are_refused(options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=rf"{name}=.*; GatedPixelCNN has its own loss and reports bits_per"):
        new().compile(optimizer="adam", **options)


def test_a_model_is_compiled_as_it_was_saved(tmp_path: Path) -> None:
    prior = new()
    prior.fit(GOOD, verbose=0)
    prior.save(tmp_path / "prior.keras")
    loaded = keras.models.load_model(tmp_path / "prior.keras")
    assert type(loaded.optimizer) is keras.optimizers.SGD
    assert int(loaded.optimizer.iterations) == int(prior.optimizer.iterations) == 1
    loaded.fit(GOOD, verbose=0)
    assert int(loaded.optimizer.iterations) == 2


def test_fit_before_compile_says_so() -> None:
    prior = GatedPixelCNN(GRID, Categorical(4), filters=4, num_layers=1)
    with pytest.raises(ValueError, match=r"You must call `compile\(\)` before using the model"):
        prior.fit(GOOD, verbose=0)


def test_datasets_of_no_known_shape_are_refused() -> None:
    def passed_on(image: Any) -> Any:
        return tf.numpy_function(lambda array: array, [image], tf.int32)

    unknown = tf.data.Dataset.from_tensor_slices(GOOD).batch(4).map(passed_on)
    with pytest.raises(
        ValueError, match=r"values have an unknown number of axes; .*tf\.ensure_shape\(images"
    ):
        new().fit(unknown, verbose=0)
    unbatched = tf.data.Dataset.from_tensor_slices(GOOD)
    with pytest.raises(ValueError, match=r"shape \(2, 4, 1\); .*of a dataset with dataset\.batch\(64\)"):
        new().fit(unbatched, verbose=0)


def test_labels_beside_a_source_are_refused() -> None:
    with pytest.raises(
        ValueError, match="Got Indexed with labels or weights beside it; expected them in its"
    ):
        new(num_classes=3).fit(Indexed([GOOD]), LABELS, verbose=0)


@pytest.mark.parametrize("filters", [2.5, True, "64", 0])
@pytest.mark.parametrize("kind", [PixelCNN, GatedPixelCNN, PixelCNNPP])
def test_numbers_of_filters_are_positive_integers(kind: Any, filters: Any) -> None:
    with pytest.raises(
        ValueError, match=rf"got filters={filters!r}.*; expected a positive (multiple|integer)"
    ):
        kind(GRID, Categorical(4), filters=filters)


@pytest.mark.parametrize("kind", [PixelCNN, GatedPixelCNN])
def test_square_kernels_are_taken_and_others_refused(kind: Any) -> None:
    small = {"grid_shape": GRID, "distribution": Categorical(4), "filters": 4, "num_layers": 2}
    square, number = kind(**small, kernel_size=(3, 3)), kind(**small, kernel_size=3)
    assert [w.shape for w in square.weights] == [w.shape for w in number.weights]
    again = kind.from_config(square.get_config())
    assert [w.shape for w in again.weights] == [w.shape for w in number.weights]
    for wrong in ((3, 5), (3,), "3", 2.0, True):
        with pytest.raises(ValueError, match=r"got kernel_size=.*; expected an odd number, 3 or more"):
            kind(**small, kernel_size=wrong)


def test_a_second_build_changes_nothing() -> None:
    for model in (new(), tokenizer()):
        before = [id(weight) for weight in model.weights]
        model.build()
        assert [id(weight) for weight in model.weights] == before


@pytest.mark.parametrize("seed", [-1, "a", 1.5, True, 2**64])
def test_seeds_are_integers_from_0_up(seed: Any) -> None:
    prior = GatedPixelCNN((2, 2, 1), Categorical(4), filters=4, num_layers=1)
    with pytest.raises(ValueError, match=rf"seed={seed!r}; expected an integer from 0 to 2"):
        sample(new(), 1, seed=seed)
    with pytest.raises(ValueError, match=rf"seed={seed!r}; expected an integer from 0 to 2"):
        Generator(tokenizer(), prior).sample(1, seed=seed)


def test_sampling_inside_a_graph_is_refused() -> None:
    prior = new()
    with pytest.raises(ValueError, match=r"sample was called while a graph is traced .*: call it outside\.$"):
        tf.function(lambda: sample(prior, 2, seed=0), autograph=False)()


def test_the_seed_of_keras_makes_samples_repeat() -> None:
    prior = GatedPixelCNN((2, 2, 1), Categorical(4), filters=4, num_layers=1)
    generator = Generator(tokenizer(), prior)
    for draw in (lambda: sample(prior, 8), lambda: generator.sample_codes(8)):
        keras.utils.set_random_seed(1)
        first, second = draw(), draw()
        keras.utils.set_random_seed(1)
        np.testing.assert_array_equal(draw(), first)
        np.testing.assert_array_equal(draw(), second)
        assert (first != second).any()
