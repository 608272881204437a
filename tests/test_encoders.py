"""Encoders: patches, positions, windows, parts that take some of the patches, and what they refuse."""

import itertools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from catalogue import CLASSIFIERS, ENCODERS, Entry, features, randomise
from catalogue_examples import assert_equal, built
from keras import ops

from tfprior.encoders import Classifier, Swin, ViT
from tfprior.export.onnx import write_onnx
from tfprior.export.saved_model import concrete_function
from tfprior.export.signatures import Function, Port
from tfprior.layers import PatchMerging, SwinBlock
from tfprior.layers.patches import images_of, patches_of
from tfprior.layers.position_encodings import resized, sin_cos_2d
from tfprior.layers.windows import OverWindows, Windows, relative_positions

each_encoder = pytest.mark.parametrize("entry", [*ENCODERS, *CLASSIFIERS], ids=str)


def small_vit(**options: Any) -> ViT:
    return randomise(ViT((4, 6, 3), 2, num_layers=2, num_heads=2, hidden_dim=8, **options))


def small_swin(*image_size: int, **options: Any) -> Swin:
    return Swin((*image_size, 1), 1, (2, 2), (2, 2), 4, window_size=3, **options)


# Patches and positions


def test_patches_stand_in_raster_order_and_come_back() -> None:
    images = features(2, 4, 6, 3)
    patches = ops.convert_to_numpy(patches_of(images, 2))
    for index, (row, column) in enumerate(itertools.product(range(2), range(3))):
        block = images[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(patches[:, index], block.reshape(2, -1))
    np.testing.assert_array_equal(images_of(patches, 2, (2, 3)), images)


def test_sin_cos_positions_of_mae() -> None:
    table = sin_cos_2d(2, 2, 8)
    np.testing.assert_allclose(table[1], [0.841471, 0.01, 0.540302, 0.99995, 0, 0, 1, 1], atol=1e-6)
    np.testing.assert_array_equal(table[2], np.roll(table[1], 4))
    with pytest.raises(ValueError, match="tokens of 6 features; expected a multiple of 4"):
        sin_cos_2d(2, 2, 6)


def test_resized_positions() -> None:
    """The same at the same size, constants constant, and mirrored where what they are made of is."""
    table = features(6 * 5, 2)
    np.testing.assert_allclose(resized(table, (6, 5), (6, 5)), table, atol=1e-6)
    np.testing.assert_allclose(
        resized(np.full((30, 2), 3.0), (6, 5), (4, 9)), np.full((36, 2), 3.0), atol=1e-6
    )
    found = resized(table, (6, 5), (4, 9)).reshape(4, 9, 2)
    mirrored = resized(table.reshape(6, 5, 2)[::-1, ::-1].reshape(30, 2), (6, 5), (4, 9)).reshape(4, 9, 2)
    np.testing.assert_allclose(mirrored[::-1, ::-1], found, atol=1e-6)


@pytest.mark.parametrize("positions", ["learned", "sin_cos"])
def test_an_encoder_of_another_size_has_the_same_weights(positions: str) -> None:
    encoder = small_vit(positions=positions)
    other = encoder.resize_positions((6, 4, 3))
    assert other.image_shape == (6, 4, 3)
    assert_equal(other.resize_positions((6, 4, 3))(features(2, 6, 4, 3)), other(features(2, 6, 4, 3)), 1e-6)
    same = [weight for weight in encoder.weights if weight is not encoder.table]
    assert_equal([weight for weight in other.weights if weight is not other.table], same)
    with pytest.raises(ValueError, match="has 1 channels; expected 3, as the patches were learned from"):
        encoder.resize_positions((6, 4, 1))


# Sizes


def test_vit_base_16_has_as_many_weights_as_in_the_paper() -> None:
    """Counted from what each block adds."""

    def count(num_layers: int) -> int:
        encoder = ViT.from_preset("base_16", num_layers=num_layers)
        return int(Classifier(encoder, 1000, "class_token").count_params())

    one = count(1)
    assert one + 11 * (count(2) - one) == 86_567_656
    assert ViT.PRESETS["base_16"]["num_layers"] == 12


def test_swin_tiny_has_as_many_weights_as_in_the_paper() -> None:
    """Each block more of the third stage adds as much."""

    def count(num_layers: int) -> int:
        encoder = Swin.from_preset("tiny", num_layers=(2, 2, num_layers, 2))
        return int(Classifier(encoder, 1000).count_params())

    one = count(1)
    assert one + 5 * (count(2) - one) == 28_288_354
    assert Swin.PRESETS["tiny"]["num_layers"] == (2, 2, 6, 2)


# Parts, as masked image modelling calls them


def test_vit_encodes_any_patches() -> None:
    """With no positions behind the embedding, a subset is what attention over it alone gives."""
    encoder, images = small_vit(), features(2, 4, 6, 3)
    tokens, kept = encoder.embed(images), np.asarray([4, 1, 5])
    assert_equal(encoder.encode(tokens), encoder(images))
    some = encoder.encode(ops.take(tokens, kept, axis=1))
    assert some.shape == (2, 4, 8)
    order = np.argsort(kept)
    again = encoder.encode(ops.take(tokens, kept[order], axis=1))
    assert_equal(again[:, 1:], ops.take(some[:, 1:], order, axis=1), atol=1e-5)
    assert_equal(again[:, 0], some[:, 0], atol=1e-5)


def test_features_as_a_map() -> None:
    encoder = small_vit()
    found = encoder(features(2, 4, 6, 3))
    assert_equal(encoder.map_of(found)[:, 1, 2], found[:, 6])
    swin = small_swin(7, 9)
    assert swin.map_of(swin(features(2, 7, 9, 1))).shape == (2, 4, 5, 8)


# Windows


def test_index_and_masks_of_windows() -> None:
    """Numbers of the published implementation."""
    expected = [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
    np.testing.assert_array_equal(Windows((4, 4), 2).index, expected)
    index = Windows((14, 14), 7).index
    assert (index[0, 0], index[0, 48], index[48, 0], index.sum()) == (84, 0, 168, 201684)
    mask = Windows((14, 14), 7, 3).mask
    assert mask is not None
    assert (mask < 0).sum((1, 2, 3)).tolist() == [0, 1176, 1176, 1776]
    large = Windows((56, 56), 7, 3).mask
    assert large is not None
    assert (large < 0).sum() == 18240
    assert Windows((14, 14), 7).mask is None


def test_windows_no_smaller_than_the_map_are_the_map() -> None:
    for map_size in ((3, 3), (2, 2), (1, 1)):
        windows = Windows(map_size, 3, 1)
        assert (windows.side, windows.shift, windows.mask) == (map_size[0], 0, None)
    assert Windows((3, 6), 3, 1).shift == 0
    with pytest.raises(ValueError, match="Got shift=3 for window_size=3; expected less, from 0 up"):
        Windows((6, 6), 3, 3)


@pytest.mark.parametrize(("height", "width"), [(6, 9), (5, 7), (2, 7), (3, 4)])
@pytest.mark.parametrize("shift", [0, 1])
def test_windows_are_dense_attention_that_sees_a_window(height: int, width: int, shift: int) -> None:
    """Over all tokens at once, the rest hidden: padded, shifted, and on maps smaller than windows."""
    block = randomise(
        built(Entry(SwinBlock, _block(height, width, shift), lambda: features(2, height * width, 8)))
    )
    x = features(2, height * width, 8, seed=1)
    rows, columns = np.indices((height, width)).reshape(2, -1)
    side = min(height, width, 3)
    begin = 0 if side == min(height, width) else shift
    down, right = ((cells - begin) // side for cells in (rows, columns))
    hidden = (down[:, None] != down) | (right[:, None] != right)
    below, beside = (cells[:, None] - cells for cells in (rows, columns))
    table = ops.convert_to_numpy(block.position_bias.table)
    index = np.where(hidden, 0, (below + 2) * 5 + beside + 2)
    bias = np.where(hidden, -1e9, table[index].transpose(2, 0, 1)).astype("float32")
    expected = block.run(x, lambda attention, x: attention(x, bias=bias))
    np.testing.assert_allclose(block(x), expected, atol=1e-5)


def _block(height: int, width: int, shift: int) -> dict[str, Any]:
    return {"num_heads": 2, "mlp_dim": 8, "map_size": (height, width), "window_size": 3, "shift": shift}


def test_cells_know_their_windows() -> None:
    """What GreenMIM groups visible cells by is what whole maps are cut by."""
    for shift in (0, 1):
        windows = Windows((5, 7), 3, shift)
        rows, columns = np.indices((5, 7)).reshape(2, -1)
        window = windows.window_of(rows, columns)
        number = np.arange(35, dtype="float32").reshape(1, 35, 1) + 1
        cut = ops.convert_to_numpy(windows.split(number))[0, :, :, 0].astype(int)
        assert_equal(windows.join(windows.split(number)), number)
        for tokens in cut:
            place = np.flatnonzero(tokens)
            cells = tokens[place] - 1
            there = [each[cells] for each in windows.place_of(rows, columns)]
            np.testing.assert_array_equal(there[0] * 3 + there[1], place)
        together = window[:, None] == window
        assert windows.mask is not None
        seen = np.zeros((36, 36), bool)
        for tokens, mask in zip(cut, windows.mask[:, 0], strict=True):
            seen[tokens[:, None], tokens] |= mask == 0
        np.testing.assert_array_equal(seen[1:, 1:], together)


@pytest.mark.parametrize("shift", [0, 1])
def test_blocks_run_on_visible_tokens_alone(shift: int) -> None:
    """As over the whole map with the hidden keys masked out: GreenMIM's blocks need no others."""
    block = randomise(built(Entry(SwinBlock, _block(5, 7, shift), lambda: features(2, 35, 8))))
    x, windows = features(2, 35, 8, seed=1), block.windows
    visible = np.sort(np.random.default_rng(2).permutation(35)[:12])
    cells = np.divmod(visible, 7)
    window = windows.window_of(*cells)
    bias = block.position_bias.of(relative_positions(*windows.place_of(*cells), 3))
    bias = bias + np.where(window[:, None] == window, 0, -1e9).astype("float32")
    found = block.run(x[:, visible], lambda attention, x: attention(x, bias=bias))
    seen = np.zeros((1, 35, 1), "float32")
    seen[:, visible] = 1
    keys = ops.convert_to_numpy(windows.split(seen))[0, :, None, None, :, 0]  # (G, 1, 1, n)
    masked = block.position_bias.of(windows.index) + windows.mask + np.where(keys, 0, -1e9).astype("float32")
    whole = block.run(x, OverWindows(windows, masked))
    np.testing.assert_allclose(found, ops.take(whole, visible, axis=1), atol=1e-5)


def test_half_precision_hides_what_is_hidden() -> None:
    """In float16, where −10⁹ is −∞: padding, which sees only padding, gives no NaN."""
    images, options = features(2, 5, 7, 1), {"dtype": "mixed_float16"}
    half, whole = small_swin(5, 7, **options), small_swin(5, 7)
    whole.set_weights(half.get_weights())
    np.testing.assert_allclose(ops.cast(half(images), "float32"), whole(images), atol=0.05)


def test_merging_takes_two_by_two_and_zeros_beyond_the_border() -> None:
    layer = randomise(built(Entry(PatchMerging, {"map_size": (3, 5)}, lambda: features(2, 15, 4))))
    x = features(2, 15, 4, seed=1)
    padded = np.zeros((2, 4, 6, 4), "float32")
    padded[:, :3, :5] = x.reshape(2, 3, 5, 4)
    parts = [padded[:, row::2, column::2] for row, column in ((0, 0), (1, 0), (0, 1), (1, 1))]
    expected = layer.merge(np.concatenate(parts, -1).reshape(2, 6, 16))
    np.testing.assert_allclose(layer(x), expected, atol=1e-6)


def test_swin_of_another_size_takes_the_same_weights() -> None:
    first, other = small_swin(6, 6), small_swin(13, 8)
    other.set_weights(first.get_weights())
    assert other(features(1, 13, 8, 1)).shape == (1, 7 * 4, 8)


# Training


def test_stochastic_depth_leaves_parts_out_by_example() -> None:
    encoder = small_vit(stochastic_depth=0.5)
    assert [block.stochastic_depth for block in encoder.blocks] == [0, 0.5]
    x, block = np.repeat(features(1, 7, 8), 64, 0), encoder.blocks[1]
    keras.utils.set_random_seed(0)
    change = ops.convert_to_numpy(block(x, training=True)) - x
    attention = ops.convert_to_numpy(2 * block.attention(block.attention_norm(x)))
    middle = x + attention
    feed_forward = ops.convert_to_numpy(2 * block.feed_forward(block.feed_forward_norm(middle)))
    alone = ops.convert_to_numpy(2 * block.feed_forward(block.feed_forward_norm(x)))
    outcomes = [np.zeros_like(x[0]), attention[0], alone[0], (attention + feed_forward)[0]]
    found = [int(np.argmin([np.abs(each - outcome).max() for outcome in outcomes])) for each in change]
    np.testing.assert_allclose(change, np.stack([outcomes[index] for index in found]), atol=1e-4)
    assert set(found) == {0, 1, 2, 3}


def test_a_frozen_encoder_computes_as_in_inference() -> None:
    encoder = small_vit(dropout=0.5, stochastic_depth=0.5)
    model = Classifier(encoder, 3, "class_token")
    images = features(2, 4, 6, 3)
    assert np.any(model(images, training=True) != model(images))
    encoder.trainable = False
    assert_equal(model(images, training=True), model(images))
    assert len(model.trainable_variables) == 2
    before = encoder.get_weights()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), run_eagerly=True)
    model.fit(images, np.asarray([0, 2]), verbose=0)
    assert_equal(encoder.get_weights(), before)


def test_a_classifier_computes_as_precisely_as_its_encoder() -> None:
    encoder = ViT((4, 6, 3), 2, num_layers=1, num_heads=2, hidden_dim=8, dtype="mixed_bfloat16")
    assert Classifier(encoder, 3).compute_dtype == "bfloat16"
    assert Classifier(encoder, 3, dtype="float32").compute_dtype == "float32"


def test_pooling() -> None:
    encoder, images = small_vit(), features(2, 4, 6, 3)
    found = ops.convert_to_numpy(encoder(images))
    for pooling, expected in (("class_token", found[:, 0]), ("mean", found[:, 1:].mean(1))):
        model = Classifier(encoder, 3, pooling)
        np.testing.assert_allclose(model(images), model.head(expected), atol=1e-6)


@pytest.mark.xla
def test_fit_compiled_by_xla() -> None:
    encoder = Swin((8, 8, 1), 2, (2,), (2,), 4, window_size=3, stochastic_depth=0.5)
    model = Classifier(encoder, 2)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=True)
    history = model.fit(features(4, 8, 8, 1), np.arange(4) % 2, batch_size=4, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@each_encoder
def test_encoders_survive_a_keras_file_in_safe_mode(entry: Entry, tmp_path: Path) -> None:
    model, images = built(entry), entry.inputs()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is entry.kind
    assert_equal(loaded(images), model(images))


# Graphs


def test_no_graph_holds_a_constant_as_large_as_a_patch_squared() -> None:
    encoder = ViT((16, 16, 3), 8, num_layers=1, num_heads=2, hidden_dim=8, positions="sin_cos")
    graph = tf.function(lambda x: encoder(x)).get_concrete_function(tf.TensorSpec((None, 16, 16, 3))).graph
    constants = [
        int(np.prod(operation.outputs[0].shape))
        for operation in graph.get_operations()
        if operation.type == "Const"
    ]
    assert max(constants) <= encoder.table.size


@pytest.mark.parametrize("entry", ENCODERS[1:3], ids=str)
def test_onnx_runtime_computes_the_same_for_any_batch(entry: Entry, tmp_path: Path) -> None:
    model, images = built(entry), entry.inputs()
    features_of = model(images)
    port = Port("features", "float32", features_of.shape[1:], "of patches")
    function = Function(
        "encode",
        lambda tensors: {"features": model(tensors["images"])},
        (Port("images", "float32", images.shape[1:], "to encode"),),
        (port,),
    )
    write_onnx(function, concrete_function(function), tmp_path / "encode.onnx", {})
    session = onnxruntime.InferenceSession(tmp_path / "encode.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 2):
        (found,) = session.run(None, {"images": images[:count]})
        np.testing.assert_allclose(found, features_of[:count], atol=1e-5)


# What is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ViT((30, 32, 3), 16), "images of 30 × 32 for patches of 16 × 16; expected height and width"),
        (lambda: ViT((32, 3), 16), r"image_shape=\(32, 3\); expected three positive integers"),
        (lambda: ViT((4, 4, 3), 2, hidden_dim=9, num_heads=2), "9 features for num_heads=2"),
        (lambda: ViT((4, 4, 3), 2, positions="rotary"), "Unknown positions 'rotary'"),
        (lambda: ViT.from_preset("base"), "ViT has no sizes 'base'; expected one of tiny_16, "),
        (lambda: Swin((8, 8, 3), 2, (2, 2), (2,)), r"num_layers=\(2, 2\) and num_heads=\(2,\); expected one"),
        (lambda: Classifier(small_swin(6, 6), 3, "class_token"), "for a Swin without one; expected 'mean'"),
        (lambda: Classifier(small_swin(6, 6), 3, "max"), "Unknown pooling 'max'"),
        (
            lambda: small_vit()(features(2, 4, 6, 1)),
            r"ViT got images of shape \(2, 4, 6, 1\); expected \(batch, 4, 6, 3\): resize them",
        ),
        (lambda: small_vit()(features(4, 6, 3)), r"images of shape \(4, 6, 3\); expected \(batch, 4, 6, 3\)"),
        (
            lambda: small_vit()(keras.Input((None, None, 3))),
            r"of shape \(None, None, None, 3\); .* set it by tf.ensure_shape\(images, \(None, 4, 6, 3\)\)",
        ),
        (
            lambda: small_vit()(np.zeros((2, 4, 6, 3), "uint8")),
            "ViT got images of uint8; expected floats, scaled as its weights have seen them",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
