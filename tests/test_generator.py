"""Generators and encoded data sets: codes on disk, images from priors of codes, the bound, completion.

Shapes: N images · H W C · h w G codes.
"""

import functools
import itertools
import json
import math
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
import tensorflow as tf
from catalogue import integers, randomise

from tfprior.data import ShardedCodes, encode_dataset
from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.generator import Generator, coarsened
from tfprior.philox import Seed
from tfprior.priors import GatedPixelCNN, PixelCNN
from tfprior.quantizers import ResidualVectorQuantizer, VectorQuantizer
from tfprior.sampling import sample
from tfprior.tokenizers import VQVAE, VQVAE2

SHAPE = (8, 4, 1)
NETWORK = {"downsampling": 2, "filters": 6, "num_residual_blocks": 1, "residual_filters": 4}
SMALL = {"filters": 12, "num_layers": 1, "first_kernel_size": 3, "class_embedding_dim": 4}


def tokenizer(**changes: Any) -> VQVAE:
    given = {
        "image_shape": SHAPE,
        "quantizer": VectorQuantizer(4, 3),
        "distribution": DiscretizedLogistic(16),
    }
    return randomise(VQVAE(**{**given, **NETWORK, **changes}))


def two_grids(shape: tuple[int, int, int]) -> VQVAE2:
    quantizers = VectorQuantizer(4, 3), VectorQuantizer(6, 5)
    return randomise(VQVAE2(shape, *quantizers, DiscretizedLogistic(16), **NETWORK))


@functools.cache
def generator(kind: str) -> Generator:
    if kind == "two grids":
        model = two_grids(SHAPE)
        top = PixelCNN((2, 1, 1), Categorical(4), num_classes=3, **SMALL)
        bottom = GatedPixelCNN((4, 2, 1), Categorical(6), condition_shape=(4, 2, 3), **SMALL)
        return Generator(model, [randomise(top), randomise(bottom, 1)])
    quantizer = {
        "one code": lambda: VectorQuantizer(4, 3),
        "two codes": lambda: ResidualVectorQuantizer([VectorQuantizer(4, 3), VectorQuantizer(4, 3)]),
    }[kind]()
    model = tokenizer(quantizer=quantizer)
    prior = GatedPixelCNN(model.code_shape, Categorical(4), num_classes=3, value_embedding_dim=3, **SMALL)
    return Generator(model, randomise(prior))


def images(count: int, seed: int = 0) -> np.ndarray:
    return integers(count, *SHAPE, top=16, seed=seed)


each_kind = pytest.mark.parametrize("kind", ["one code", "two codes", "two grids"])
LABELS = np.array([0, 1, 2, 0, 1])


# Generators ----------------------------------------------------------------------------------------------


@each_kind
def test_samples_are_the_images_of_sampled_codes(kind: str) -> None:
    model = generator(kind)
    drawn = model.sample(5, LABELS, seed=3)
    assert (drawn.shape, drawn.dtype) == ((5, *SHAPE), "int32")
    codes = model.sample_codes(5, LABELS, seed=3)
    np.testing.assert_array_equal(drawn, np.rint(model.tokenizer.decode(codes)))
    np.testing.assert_array_equal(drawn, model.sample(5, LABELS, seed=3))
    assert (drawn != model.sample(5, LABELS, seed=4)).any()


def test_every_prior_takes_as_many_of_the_top_k_as_it_has() -> None:
    model = generator("two grids")  # of 4 and 6 codes
    _, bottom = model.sample_codes(40, np.arange(40) % 3, seed=0, top_k=5)
    top, free = model.sample_codes(40, np.arange(40) % 3, seed=0)
    given = np.asarray(model.tokenizer.condition_map(top))
    np.testing.assert_array_equal(bottom, sample(model.priors[1], 40, given, seed=Seed(0, grid=1), top_k=5))
    assert (bottom != free).any()


def test_the_bottom_codes_are_drawn_given_the_top_ones() -> None:
    model = generator("two grids")
    top, bottom = model.sample_codes(5, LABELS, seed=3)
    condition = np.asarray(model.tokenizer.condition_map(top))
    vectors = np.asarray(model.tokenizer.top_quantizer.codebook)[top[..., 0]]
    np.testing.assert_array_equal(condition, vectors.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_array_equal(bottom, sample(model.priors[1], 5, condition, seed=Seed(3, grid=1)))


@each_kind
def test_the_bound_is_the_codes_and_the_images_given_them(kind: str) -> None:
    model, x = generator(kind), images(5)
    codes = model.tokenizer.encode(x)
    params = model.tokenizer(x).params
    nats = np.asarray(model.tokenizer.distribution.log_prob(params, x)).sum((1, 2))
    grids = codes if isinstance(codes, list) else [codes]
    nats = nats + np.asarray(model.priors[0].log_prob(grids[0], LABELS))
    if kind == "two grids":
        nats = nats + np.asarray(model.priors[1].log_prob(grids[1], model.tokenizer.condition_map(grids[0])))
    np.testing.assert_allclose(model.log_prob(x, LABELS, batch_size=2), nats, rtol=1e-5)
    np.testing.assert_allclose(model.bits_per_dim(x, LABELS), -nats / 32 / math.log(2), rtol=1e-5)


@each_kind
def test_the_map_of_the_bound_shares_codes_out_among_their_pixels(kind: str) -> None:
    model, x = generator(kind), images(5)
    grids = model.tokenizer.grids_of(model.tokenizer.encode(x))
    expected = model.tokenizer.pixel_log_prob(x)
    for index, (prior, grid) in enumerate(zip(model.priors, grids, strict=True)):
        cell = 8 // grid.shape[1], 4 // grid.shape[2]
        shares = np.asarray(prior.pixel_log_prob(grid, model.condition_of(grids[:index], LABELS)))
        expected = expected + np.kron(shares / (cell[0] * cell[1]), np.ones((1, *cell), "float32"))
    nats = model.pixel_log_prob(x, LABELS, batch_size=2)
    assert nats.shape == (5, 8, 4)
    np.testing.assert_allclose(nats, expected, rtol=1e-5)
    np.testing.assert_allclose(nats.sum((1, 2)), model.log_prob(x, LABELS), rtol=1e-5)


def test_the_bound_lies_below_the_likelihood() -> None:
    """Of images so small that all codes can be summed over."""
    model = tokenizer(image_shape=(4, 2, 1), distribution=DiscretizedLogistic(4))
    prior = randomise(GatedPixelCNN((2, 1, 1), Categorical(4), **SMALL))
    bound = Generator(model, prior)
    x = integers(6, 4, 2, 1)
    every = np.array(list(itertools.product(range(4), repeat=2)), "int32").reshape(-1, 2, 1, 1)
    of_codes = np.asarray(prior.log_prob(every), "float64")
    params = np.asarray(model.params(every))
    exact = []
    for image in x:
        given = np.asarray(model.distribution.log_prob(params, np.repeat(image[None], 16, 0))).sum((1, 2))
        exact.append(np.logaddexp.reduce(of_codes + given))
    assert (bound.log_prob(x) <= np.array(exact) + 1e-4).all()


@each_kind
def test_completion_keeps_what_is_known_and_draws_the_rest(kind: str) -> None:
    model, x = generator(kind), images(5)
    mask = np.zeros((8, 4), bool)
    mask[5:] = True
    completed = model.complete(x, mask, LABELS, seed=1)
    np.testing.assert_array_equal(completed[:, :5], x[:, :5])
    assert (completed[:, 5:] != model.complete(x, mask, LABELS, seed=2)[:, 5:]).any()
    # What was hidden is not looked at.
    other = np.where(mask[:, :, None], 15 - x, x)
    np.testing.assert_array_equal(model.complete(other, mask, LABELS, seed=1), completed)


def test_no_images_are_refused() -> None:
    model = generator("one code")
    of_none = lambda x: model.log_prob(x, LABELS[:0])  # noqa: E731
    for take in (model.tokenizer.encode, model.tokenizer.reconstruct, of_none):
        with pytest.raises(ValueError, match=r"Got 0 .* expected at least one of each"):
            take(images(0))


def test_a_tokenizer_that_diverged_gives_no_images() -> None:
    model = tokenizer()
    model.set_weights(
        [np.nan * weight if weight.dtype == "float32" else weight for weight in model.get_weights()]
    )
    with pytest.raises(ValueError, match="The decoder gives NaN, so its training diverged"):
        model.reconstruct(images(2))


def test_a_block_is_hidden_where_a_pixel_of_it_is() -> None:
    mask = np.zeros((1, 4, 6), bool)
    mask[0, 1, 2] = True
    np.testing.assert_array_equal(coarsened(mask, (2, 3))[0], [[False, True, False], [False] * 3])


@each_kind
def test_a_generator_survives_a_keras_file_in_safe_mode(kind: str, tmp_path: Path) -> None:
    model = generator(kind)
    model.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    np.testing.assert_array_equal(loaded.sample(5, LABELS, seed=3), model.sample(5, LABELS, seed=3))
    x = images(3)
    np.testing.assert_allclose(loaded.log_prob(x, LABELS[:3]), model.log_prob(x, LABELS[:3]), rtol=1e-6)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda prior: Generator(tokenizer(), [prior, prior]), r"got 2 priors; expected 1"),
        (
            lambda prior: Generator(tokenizer(downsampling=1), prior),
            r"prior of grids \(4, 2, 1\) of 4 levels; the tokenizer's codes are \(8, 4, 1\) of 4",
        ),
        (
            lambda prior: Generator(tokenizer(quantizer=VectorQuantizer(5, 3)), prior),
            r"of 4 levels; the tokenizer's codes are \(4, 2, 1\) of 5",
        ),
        (
            lambda prior: Generator(
                VQVAE2(
                    (16, 8, 1),
                    VectorQuantizer(4, 3),
                    VectorQuantizer(6, 5),
                    DiscretizedLogistic(16),
                    **NETWORK,
                ),
                [prior, catalogue.prior(PixelCNN, (8, 4, 1), distribution=Categorical(6))],
            ),
            r"condition_shape=None; expected \(8, 4, 3\)",
        ),
    ],
)
def test_priors_of_other_codes_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(PixelCNN((4, 2, 1), Categorical(4), **SMALL))


# Codes on disk -------------------------------------------------------------------------------------------


@functools.cache
def encoder() -> VQVAE:
    return tokenizer()


FEEDS = {
    "array": lambda x, y: x,
    "dict": lambda x, y: {"values": x, "condition": y},
    "dataset": lambda x, y: tf.data.Dataset.from_tensor_slices(x).batch(3),
    "dataset of dicts": lambda x, y: tf.data.Dataset.from_tensor_slices({"values": x, "condition": y}).batch(
        7
    ),
    "list": lambda x, y: [x[:4], x[4:5], x[5:]],
}


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("shard_size", [4, 23, 100])
def test_shards_hold_the_codes_of_all_images_in_order(feed: str, shard_size: int, tmp_path: Path) -> None:
    x, y = images(23), np.arange(23, dtype="int32")
    written = encode_dataset(encoder(), FEEDS[feed](x, y), tmp_path / "codes", shard_size, progress=False)
    assert len(written) == 23
    assert len(list((tmp_path / "codes").glob("*.npz"))) == -(-23 // shard_size)
    read = ShardedCodes(tmp_path / "codes")
    assert (read.grid_shape, read.num_levels) == ((4, 2, 1), 4)
    arrays = read.arrays()
    values = arrays["values"] if "dict" in feed else arrays
    np.testing.assert_array_equal(values, encoder().encode(x))
    assert values.dtype == "uint8"
    if "dict" in feed:
        np.testing.assert_array_equal(arrays["condition"], y)


def test_encoding_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x, path = images(20), tmp_path / "codes"
    seen = []
    encode = VQVAE.encode

    def stopped(self: VQVAE, batch: Any, *given: Any) -> Any:
        seen.append(len(batch))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return encode(self, batch, *given)

    monkeypatch.setattr(VQVAE, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(encoder(), x, path, 6, progress=False)
    with pytest.raises(ValueError, match=r"is unfinished; call encode_dataset again"):
        ShardedCodes(path)
    codes = encode_dataset(encoder(), x, path, 6, progress=False)
    assert seen == [6, 6, 6, 6, 2]
    np.testing.assert_array_equal(codes.arrays(), encode(encoder(), x))
    encode_dataset(encoder(), x, path, 6, progress=False)
    assert len(seen) == 5


def test_codes_of_other_data_are_not_taken_for_these(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    encode_dataset(encoder(), images(20), path, 6, progress=False)
    for other in (images(20, seed=1), images(20)[:12]):
        with pytest.raises(ValueError, match=r"holds codes of (other data|20 examples and the data are 12)"):
            encode_dataset(encoder(), other, path, 6, progress=False)


def test_a_shard_that_was_lost_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    codes = encode_dataset(encoder(), images(20), path, 6, progress=False)
    (path / "codes-00001.npz").unlink()
    with pytest.raises(ValueError, match="call encode_dataset again"):
        codes.arrays()
    again = encode_dataset(encoder(), images(20), path, 6, progress=False)
    np.testing.assert_array_equal(again.arrays(), encoder().encode(images(20)))


def test_vectors_as_conditions_stay_what_they_are(tmp_path: Path) -> None:
    vectors = catalogue.features(10, 3)
    feed = {"values": images(10), "condition": vectors}
    codes = encode_dataset(encoder(), feed, tmp_path / "codes", 4, progress=False)
    found = [batch["condition"] for batch in codes.pipeline(5, shuffle=False).as_numpy_iterator()]
    np.testing.assert_array_equal(np.concatenate(found), vectors)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((images(2), np.zeros(2)), "Got a batch of 2 parts; expected images, or a dict"),
        ({"images": images(2)}, r"Got a batch of keys \['images'\]"),
        ({"values": images(2), "label": np.zeros(2)}, r"Got a batch of keys \['label', 'values'\]"),
    ],
)
def test_batches_of_other_parts_are_refused(batch: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        encode_dataset(encoder(), [batch], tmp_path / "codes", progress=False)


def test_a_pipeline_of_shards_holds_every_example_once_an_epoch(tmp_path: Path) -> None:
    x, y = images(23), np.arange(23, dtype="int32")
    codes = encode_dataset(encoder(), {"values": x, "condition": y}, tmp_path / "c", 6, progress=False)
    batches = codes.pipeline(4, seed=1)
    epochs = [list(batches.as_numpy_iterator()) for _ in range(2)]
    orders = [np.concatenate([batch["condition"] for batch in epoch]) for epoch in epochs]
    for epoch, order in zip(epochs, orders, strict=True):
        np.testing.assert_array_equal(np.sort(order), y)
        values = np.concatenate([batch["values"] for batch in epoch])
        np.testing.assert_array_equal(values, encoder().encode(x)[order])
        assert [len(batch["condition"]) for batch in epoch] == [4, 4, 4, 4, 4, 3]
    assert (orders[0] != orders[1]).any()
    straight = codes.pipeline(4, shuffle=False, drop_remainder=True)
    np.testing.assert_array_equal(np.concatenate([batch["condition"] for batch in straight]), y[:20])


def test_a_prior_trains_on_shards(tmp_path: Path) -> None:
    codes = encode_dataset(encoder(), images(20), tmp_path / "codes", 8, progress=False)
    prior = GatedPixelCNN(codes.grid_shape, Categorical(codes.num_levels), **SMALL)
    prior.compile(optimizer="adam", run_eagerly=True)
    assert np.isfinite(prior.fit(codes.pipeline(4), verbose=0).history["loss"]).all()


def test_foreign_folders_and_other_tokenizers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    encode_dataset(encoder(), images(5), path, 6, progress=False)
    other = tokenizer()
    other.quantizer._codebook.assign(2 * other.quantizer._codebook)
    with pytest.raises(ValueError, match=r"holds codes with another tokenizer"):
        encode_dataset(other, images(5), path, 6, progress=False)
    with pytest.raises(ValueError, match=r"holds codes with another shard_size"):
        encode_dataset(encoder(), images(5), path, 7, progress=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="exists and holds no codes"):
        encode_dataset(encoder(), images(5), tmp_path / "mine", progress=False)
    with pytest.raises(FileNotFoundError, match=r"holds no codes.json"):
        ShardedCodes(tmp_path / "mine")
    with pytest.raises(ValueError, match="Got an empty dataset"):
        encode_dataset(encoder(), images(0), tmp_path / "none", progress=False)


def test_several_grids_and_uneven_batches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a VQVAE2 of several grids of codes"):
        encode_dataset(two_grids(SHAPE), images(5), tmp_path / "codes", progress=False)
    with pytest.raises(ValueError, match=r"shard_size=0; expected a positive integer"):
        encode_dataset(encoder(), images(5), tmp_path / "codes", 0, progress=False)
    uneven = {"values": images(5), "condition": np.arange(4)}
    with pytest.raises(ValueError, match=r"'values': 5, 'condition': 4}; expected as many of each"):
        encode_dataset(encoder(), uneven, tmp_path / "codes", progress=False)


def test_damaged_and_newer_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "codes"
    codes = encode_dataset(encoder(), images(9), path, 6, progress=False)
    shard = path / "codes-00001.npz"
    shard.write_bytes(shard.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"codes-00001.npz could not be read"):
        codes.arrays()
    description = json.loads((path / "codes.json").read_text())
    (path / "codes.json").write_text(json.dumps({**description, "version": 9}))
    with pytest.raises(ValueError, match=r"version 9; this tfprior reads 'tfprior.codes' up to 1"):
        ShardedCodes(path)
    del description["shard_size"]
    (path / "codes.json").write_text(json.dumps(description))
    with pytest.raises(ValueError, match=r"codes.json is damaged \('shard_size'\)"):
        ShardedCodes(path)
    (path / "codes.json").write_text("{")
    with pytest.raises(ValueError, match=r"codes.json is damaged"):
        ShardedCodes(path)
