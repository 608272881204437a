"""MAE, SimMIM and GreenMIM: masks, groups of windows, losses, training, files, and what they refuse."""

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import features, randomise
from catalogue_examples import assert_equal
from keras import ops

from tfprior.encoders import Classifier, Swin, ViT
from tfprior.layers import ImageScaling
from tfprior.layers.windows import OverWindows, Windows
from tfprior.masked_images import MaskedImages
from tfprior.pretraining import MAE, GreenMIM, MaskedImageModel, SimMIM
from tfprior.pretraining.base import Predicted
from tfprior.pretraining.grouping import OverGroups, TooManyGroups, fullest, grouped, knapsacks
from tfprior.pretraining.masking import num_hidden, ranks_of, rows_at
from tfprior.pretraining.pixels import reconstructed
from tfprior.pretraining.visible_swin import VisibleSwin

SHAPE = (16, 24, 3)
DECODER = {"decoder_dim": 8, "decoder_layers": 1, "decoder_heads": 2}


def images_of_levels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE)).astype("uint8")


def noise_for(model: MaskedImageModel, count: int, seed: int = 1) -> np.ndarray:
    rows = 1 if model.shares_mask else count
    return np.random.default_rng(seed).random((rows, model.num_units)).astype("float32")


def small_vit(**options: Any) -> ViT:
    return ViT(SHAPE, 4, 1, 2, 8, **options)


def small_swin(**options: Any) -> Swin:
    return Swin(SHAPE, 2, (2, 1), (2, 2), 4, window_size=3, **options)


def mae(**options: Any) -> MAE:
    return MAE(small_vit(positions="sin_cos"), **{**DECODER, "mean": (0.5, 0.4, 0.3), "std": 0.2, **options})


def simmim(**options: Any) -> SimMIM:
    return SimMIM(small_swin(), **{"unit_size": 8, **options})


def green(**options: Any) -> GreenMIM:
    return GreenMIM(small_swin(), **{**DECODER, "unit_size": 4, **options})


KINDS = [mae, simmim, green]
each_kind = pytest.mark.parametrize("kind", KINDS)


@functools.cache
def example(kind: Callable[..., MaskedImageModel]) -> MaskedImageModel:
    """A model with random weights that no test changes."""
    return randomise(kind())


# Masks


def test_as_many_are_hidden_as_in_the_papers() -> None:
    assert (num_hidden(196, 0.75), num_hidden(36, 0.6), num_hidden(49, 0.75)) == (147, 22, 37)
    assert num_hidden(100, 0.07) == 7  # 7.000000000000001 in floats


@each_kind
def test_masks_are_functions_of_noise(kind: Any) -> None:
    model, images = example(kind), images_of_levels(3)
    noise = noise_for(model, 3)
    first = model(images, noise=noise)
    assert_equal(first, model(images, noise=noise))
    hidden = ops.convert_to_numpy(first.hidden)
    expected = noise > np.sort(noise, axis=1)[:, model.num_visible - 1 : model.num_visible]
    np.testing.assert_array_equal(hidden, np.broadcast_to(expected, hidden.shape))
    assert_equal(model(images), model(images))  # those of evaluation
    assert hidden.shape == (3, model.num_units)


def test_rows_and_ranks() -> None:
    noise = np.asarray([[0.7, 0.1, 0.9, 0.4], [0.5, 0.5, 0.1, 0.2]], "float32")
    ranks = ops.convert_to_numpy(ranks_of(noise))
    assert ranks[0].tolist() == [2, 0, 3, 1]
    assert sorted(ranks[1].tolist()) == [0, 1, 2, 3]  # ties too are in some order
    x = features(2, 4, 3)
    np.testing.assert_array_equal(rows_at(x, ranks), np.take_along_axis(x, ranks[..., None], 1))


@each_kind
def test_hidden_pixels_reach_nothing(kind: Any) -> None:
    """Whatever they are, features and predictions are the same."""
    model, images = example(kind), images_of_levels(2)
    noise = noise_for(model, 2)
    hidden = model.reconstruct(images, noise).hidden
    other = np.where(hidden[..., None], 255 - images, images)
    np.testing.assert_array_equal(model(images, noise=noise).patches, model(other, noise=noise).patches)
    seen = np.where(hidden[..., None], images, 255 - images)
    assert np.any(model(images, noise=noise).patches != model(seen, noise=noise).patches)


# Losses


@each_kind
def test_the_loss_is_of_hidden_pixels_alone(kind: Any) -> None:
    model, images = example(kind), images_of_levels(2)
    predicted = model(images, noise=noise_for(model, 2))
    patches, loss = ops.convert_to_numpy(predicted.patches), model.compute_loss(images, y_pred=predicted)
    hidden = model.reconstruct(images, noise_for(model, 2)).hidden
    side, (down, across) = model.stride, model.encoder.feature_size
    pixels = np.repeat(hidden[..., None], 3, -1).reshape(2, down, side, across, side, 3)
    pixels = pixels.transpose(0, 1, 3, 2, 4, 5).reshape(patches.shape)
    elsewhere = predicted._replace(patches=np.where(pixels, patches, 100.0).astype("float32"))
    np.testing.assert_allclose(model.compute_loss(images, y_pred=elsewhere), loss, rtol=1e-6)
    # All of them, and in equal parts.
    targets = ops.convert_to_numpy(model.targets(model.scaling(images)))
    expected = ops.convert_to_numpy(model.error(patches - targets))[pixels].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    weighted = model.compute_loss(images, y_pred=predicted, sample_weight=np.asarray([2.0, 0.0]))
    np.testing.assert_allclose(weighted, ops.mean(model.errors(images[:1], _first(predicted))), rtol=1e-5)


def _first(predicted: Predicted) -> Predicted:
    return Predicted(*(part[:1] for part in predicted))


@each_kind
def test_reconstructions_undo_scaling_and_normalization(kind: Any) -> None:
    """What is predicted rightly is the image again."""
    model, images = example(kind), images_of_levels(5)
    noise = noise_for(model, 5)
    found = model.reconstruct(images, noise, batch_size=2)
    levels, hidden = images.astype("float32") / 255, found.hidden[..., None]
    np.testing.assert_allclose(found.images, levels, atol=1e-6)
    np.testing.assert_array_equal(
        np.where(hidden, 0, found.reconstruction), np.where(hidden, 0, found.images)
    )
    mean = np.broadcast_to(np.float32(model.mean), images.shape)
    np.testing.assert_allclose(found.masked, np.where(hidden, mean, levels), atol=1e-6)
    scaled = model.scaling(images)
    right = Predicted(model.targets(scaled), model(images, noise=noise).hidden)
    np.testing.assert_allclose(reconstructed(model, scaled, right).reconstruction, levels, atol=1e-5)
    as_floats = model.reconstruct(levels, noise, batch_size=2)
    np.testing.assert_allclose(as_floats.reconstruction, found.reconstruction, atol=1e-4)


@each_kind
def test_predict_gives_images_and_evaluate_their_error(kind: Any) -> None:
    model, images = example(kind), images_of_levels(5)
    model.compile(run_eagerly=True)
    expected = model.reconstruct(images, batch_size=2).reconstruction
    found = model.predict(images, batch_size=2, verbose=0)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    labelled = tf.data.Dataset.from_tensor_slices((images, np.arange(5))).batch(2)
    np.testing.assert_allclose(model.predict(labelled, verbose=0), expected, atol=1e-5)
    errors = [model.errors(part, model(part)) for part in np.split(images, [2, 4])]
    scores = model.evaluate(images, batch_size=2, verbose=0, return_dict=True)
    assert scores[model.error_name] == pytest.approx(float(np.concatenate(errors).mean()), rel=1e-5)
    assert model.evaluate(labelled, verbose=0, return_dict=True) == scores
    wrapped = MaskedImages(model)
    wrapped.compile(run_eagerly=True)
    np.testing.assert_allclose(wrapped.predict(images, batch_size=2, verbose=0), expected, atol=1e-5)
    for use in (model.predict, model.evaluate):
        with pytest.raises(ValueError, match=r"got floats of up to 255; expected images in \[0, 1\]"):
            use(images.astype("float32") * 0 + 255)


# Groups of windows


def test_the_fullest_knapsack() -> None:
    rng = np.random.default_rng(0)
    for capacity in (1, 7, 12):
        sizes = rng.integers(1, capacity + 1, 8).tolist()
        subsets = itertools.chain.from_iterable(itertools.combinations(sizes, count) for count in range(9))
        best = max(sum(subset) for subset in subsets if sum(subset) <= capacity)
        assert sum(sizes[place] for place in fullest(sizes, capacity)) == best
    assert [sorted(each) for each in knapsacks([5, 1, 3, 2, 4], 6)] == [[0, 1], [3, 4], [2]]


@pytest.mark.parametrize("shift", [0, 1])
def test_groups_hold_each_window_whole(shift: int) -> None:
    windows, visible = Windows((8, 9), 3, shift), np.random.default_rng(0).permutation(72)[:30]
    cells = np.divmod(visible, 9)
    found = grouped(windows, cells, 11, 9)
    assert found.tokens.shape == (9, 11)
    real = found.windows.reshape(-1) >= 0
    assert sorted(found.tokens.reshape(-1)[real]) == list(range(30))
    np.testing.assert_array_equal(found.tokens.reshape(-1)[found.slots], np.arange(30))
    for window in range(found.windows.max() + 1):
        assert len(np.flatnonzero((found.windows == window).any(1))) == 1
    with pytest.raises(TooManyGroups, match=r"The visible tokens need [3-9] groups of 11; there are 2"):
        grouped(windows, cells, 11, 2)


@pytest.mark.parametrize("shift", [0, 1])
def test_grouped_attention_is_window_attention_with_hidden_keys_masked(shift: int) -> None:
    swin = randomise(Swin((8, 9, 1), 1, (2,), (2,), 8, window_size=3))
    block, x = swin.stages[0].blocks[shift], features(2, 72, 8, seed=1)
    visible = np.sort(np.random.default_rng(2).permutation(72)[:30])
    grouping = grouped(block.windows, np.divmod(visible, 9), 13, 5)
    found = block.run(x[:, visible], OverGroups(block, grouping))
    expected = ops.take(_hidden_keys_masked(block, x, visible), visible, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def _hidden_keys_masked(block: Any, x: Any, visible: np.ndarray) -> Any:
    """A block over a whole map, whose hidden tokens nobody sees."""
    seen = np.zeros((1, x.shape[1], 1), "float32")
    seen[:, visible] = 1
    keys = ops.convert_to_numpy(block.windows.split(seen))[0, :, None, None, :, 0]  # (G, 1, 1, n)
    bias = block.position_bias.of(block.windows.index) + np.where(keys, 0, -1e9).astype("float32")
    bias = bias if block.windows.mask is None else bias + block.windows.mask
    return block.run(x, OverWindows(block.windows, bias))


def test_visible_units_are_encoded_as_in_a_swin_that_hides_the_others() -> None:
    """Through every stage: blocks as above, and merging of whole maps gathered at visible units."""
    swin = randomise(Swin((24, 16, 2), 1, (2, 2, 1), (2, 2, 2), 4, window_size=3))
    runner, images = VisibleSwin(swin, 8, 3), features(2, 24, 16, 2)
    plan = runner.plan(np.random.default_rng(4).random(6))
    x, last = swin.embed(images), len(swin.stages) - 1
    for index, stage in enumerate(swin.stages):
        rows, columns = runner.visible_cells(index, plan.visible)
        visible = rows * (16 >> index) + columns
        for block in stage.blocks:
            x = _hidden_keys_masked(block, x, visible)
        x = x if index == last else stage.merging(x)
    expected = ops.take(swin.norm(x), visible, axis=1)
    np.testing.assert_allclose(runner.encode(images, plan), expected, atol=1e-5)
    # The decoder puts them where they come from, and mask tokens elsewhere.
    assert plan.ranks[visible].tolist() == list(range(len(visible)))
    assert sorted(plan.ranks) == list(range(24))


def test_greenmim_without_a_plan_predicts_the_same() -> None:
    """Though each image has a mask of its own, and the Swin runs over all of it."""
    model = randomise(
        GreenMIM(Swin((24, 16, 2), 1, (2, 2), (2, 2), 4, window_size=3), unit_size=4, **DECODER)
    )
    images, noise = features(3, 24, 16, 2), np.random.default_rng(1).random((3, 24)).astype("float32")
    predict = tf.function(lambda images, noise: tuple(model.predict_by_noise(images, noise)))
    patches, hidden = predict(images, noise)
    for row in range(3):
        expected = model(images[row : row + 1], noise=noise[row : row + 1])
        np.testing.assert_array_equal(hidden[row], expected.hidden[0])
        np.testing.assert_allclose(patches[row], expected.patches[0], atol=1e-5)


def test_greenmim_draws_masks_of_one_size() -> None:
    keras.utils.set_random_seed(0)
    model, images = green(), images_of_levels(2)
    evaluated, shapes, seen = model(images), [part.shape for part in model.planned], set()
    for _ in range(5):
        model.draw_mask()
        assert [part.shape for part in model.planned] == shapes
        hidden = ops.convert_to_numpy(model(images, training=True).hidden)
        np.testing.assert_array_equal(hidden[0], hidden[1])
        assert hidden[0].sum() == 18
        seen.add(hidden[0].tobytes())
    assert len(seen) == 5
    assert_equal(model(images), evaluated)
    with pytest.raises(ValueError, match="noise inside a graph; it plans masks in NumPy"):
        tf.function(lambda noise: model(images, noise=noise))(tf.zeros((1, 24)))


# Training


@pytest.mark.slow("simmim")
@each_kind
def test_training_lowers_the_loss_and_goes_on_from_a_file(kind: Any, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model, images = kind(), images_of_levels(8) // 2
    before = model.encoder.get_weights()
    masks: list[bytes] = []
    recorded = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: masks.append(_plan(model))
    )
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=not model.shares_mask)  # it takes long to trace
    history = model.fit(
        images, batch_size=4, epochs=4, verbose=0, validation_data=images, callbacks=[recorded]
    ).history
    assert set(history) == {"loss", "val_loss", model.error_name, f"val_{model.error_name}"}
    assert history["val_loss"][-1] < history["val_loss"][0]
    assert all(np.any(a != b) for a, b in zip(model.encoder.get_weights(), before, strict=True) if a.any())
    assert len(set(masks)) == (8 if model.shares_mask else 1)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert_equal(loaded.reconstruct(images), model.reconstruct(images))
    loaded.run_eagerly = True
    assert loaded.optimizer.iterations == 8
    assert loaded.train_on_batch(images, return_dict=True)["loss"] < history["loss"][0]


def _plan(model: Any) -> bytes:
    return model.planned[0].numpy().tobytes() if model.shares_mask else b""


@pytest.mark.xla
def test_greenmim_compiled_by_xla() -> None:
    model = GreenMIM(Swin(SHAPE, 2, (2,), (2,), 4, window_size=3), unit_size=4, **DECODER)
    model.compile("sgd", jit_compile=True)
    assert np.isfinite(model.fit(images_of_levels(4), batch_size=2, verbose=0).history["loss"]).all()


def test_half_precision() -> None:
    """What is hidden is the same, as noise is not rounded; losses are float32."""
    whole, images = example(green), images_of_levels(2)
    half = GreenMIM(small_swin(dtype="mixed_float16"), unit_size=4, **DECODER)
    half.set_weights(whole.get_weights())
    assert half.compute_dtype == "float16"
    first, second = (model(images, noise=noise_for(whole, 2)) for model in (half, whole))
    np.testing.assert_array_equal(first.hidden, second.hidden)
    np.testing.assert_allclose(ops.cast(first.patches, "float32"), second.patches, atol=0.1)
    assert half.compute_loss(images, y_pred=first).dtype == "float32"


def test_the_encoder_goes_on_in_a_classifier_that_scales(tmp_path: Path) -> None:
    model, images = example(mae), images_of_levels(2)
    classifier = Classifier(model.encoder, 3, scaling=model.scaling)
    assert classifier.encoder is model.encoder
    expected = Classifier.call(classifier, images)
    assert_equal(classifier(images.astype("float32") / 255), expected, 1e-5)
    pooled = classifier.pooled(model.encoder((images / 255 - [0.5, 0.4, 0.3]).astype("float32") / 0.2))
    assert_equal(classifier.head(pooled), expected, 1e-5)
    classifier.save(tmp_path / "classifier.keras")
    assert_equal(keras.saving.load_model(tmp_path / "classifier.keras")(images), expected)


def test_no_graph_holds_a_constant_as_large_as_a_patch_squared() -> None:
    model = MAE(ViT((16, 16, 3), 8, 1, 2, 8, positions="sin_cos"), **DECODER)
    graph = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((None, 16, 16, 3))).graph
    constants = [op.outputs[0].shape.num_elements() for op in graph.get_operations() if op.type == "Const"]
    assert max(constants) <= model.encoder.table.size


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mae(mask_ratio=0), "Got mask_ratio=0; expected a number between 0 and 1, such as 0.75"),
        (lambda: mae(mask_ratio=1.0), "Got mask_ratio=1.0; expected a number between 0 and 1"),
        (lambda: simmim(mask_ratio=0.9), "mask_ratio=0.9 hides all 6 units of an image; .* lower the ratio"),
        (lambda: MAE(small_swin()), "MAE got a Swin; expected a ViT.*: GreenMIM does this with a Swin"),
        (lambda: GreenMIM(small_vit()), "GreenMIM got a ViT; expected a Swin: MAE does this with a ViT"),
        (lambda: simmim(unit_size=5), "SimMIM got unit_size=5; expected a multiple of the patches' 2"),
        (lambda: SimMIM(small_vit()), r"images of 16 × 24 for unit_size=32; expected height and width divis"),
        (lambda: green(unit_size=2), "GreenMIM got unit_size=2; expected a multiple of 4 pixels"),
        (
            lambda: SimMIM(Swin((6, 9, 1), 1, (1, 1), (2, 2), 4), unit_size=3),
            "a map of 3 × 5 for images of 6 × 9; expected one that divides them.* divisible by 2",
        ),
        (lambda: mae(decoder_layers=0), "The decoder got decoder_layers=0; expected a positive integer"),
        (lambda: mae(std=0.0), "std=0.0; expected finite numbers, std above 0"),
        (lambda: mae(mean=(0.5, 0.5)), r"mean=\(0.5, 0.5\) for images of 3 channels; expected a number, or"),
        (
            lambda: example(mae)(images_of_levels(2)[..., :1]),
            r"ViT got images of shape \(2, 16, 24, 1\); expected \(batch, 16, 24, 3\): resize them",
        ),
        (lambda: example(mae).fit(images_of_levels(2)[:, :8]), r"images of shape \(2, 8, 24, 3\); expected"),
        (
            lambda: example(mae)(images_of_levels(2).astype("int32")),
            r"MAE got images of int32; expected uint8, or floats in \[0, 1\]",
        ),
        (
            lambda: example(mae)(images_of_levels(2), noise=np.zeros((2, 5), "float32")),
            r"MAE got noise of float32 \(2, 5\); expected floats \(2, 24\), one for each unit",
        ),
        (
            lambda: example(green).reconstruct(images_of_levels(2), np.zeros((2, 24), "float32")),
            r"GreenMIM got noise of float32 \(2, 24\); expected floats \(1, 24\)",
        ),
        (
            lambda: mae().compile("adam", loss="mse"),
            "loss='mse'; MAE has its own loss and reports hidden_mse",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_scaling_takes_levels_and_floats() -> None:
    layer, images = ImageScaling(0.5, (0.1, 0.2, 0.3)), images_of_levels(1)
    found = ops.convert_to_numpy(layer(images))
    np.testing.assert_allclose(found, (images / 255 - 0.5) / [0.1, 0.2, 0.3], atol=1e-5)
    np.testing.assert_allclose(layer.undone(found), images / 255, atol=1e-6)
