"""Lossless compression: round trips, sizes, and files that are refused.

Most graphs run without XLA, which takes seconds to compile each and changes none of what is checked here.
"""

import contextlib
import math
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import catalogue
import keras
import numpy as np
import pytest
from catalogue import GREY, PRIORS, Entry, condition_of, features, integers, prior, randomise, values_of

from tfprior.compression import batches as batches_module
from tfprior.compression import compress, container, decompress, read_header
from tfprior.compression.batches import Contents, code_batches
from tfprior.compression.coder import Decoder, Encoder, UndecodableError
from tfprior.compression.environment import Environment
from tfprior.distributions import Categorical, DiscretizedLogistic, Gaussian
from tfprior.generator import Generator
from tfprior.priors import AutoregressivePrior, GatedPixelCNN, PixelCNN, Prior
from tfprior.quantizers import VectorQuantizer
from tfprior.tokenizers import VQVAE, VQVAE2

COUNT = 5
"""Images: two batches of four, the last one filled up."""


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
    assert len(data) <= 1.01 * bits_of(model, values, condition) / 8 + 64
    return data


@pytest.fixture(scope="module")
def grey() -> Prior:
    return prior(GatedPixelCNN, GREY)


@pytest.fixture(scope="module")
def file(grey: Prior) -> bytes:
    return compress(grey, values_of(grey, 2))


# Round trips ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", PRIORS, ids=str)
def test_every_prior_gives_back_its_images(entry: Entry) -> None:
    model = randomise(entry.build())
    assert_round_trip(model, values_of(model, COUNT), condition_of(model, COUNT))


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
    assert len(data) <= 64 + 3 * values.size  # 24 bits each
    sure = np.full((500, *GREY), 3)
    assert len(compress(model, sure)) <= 64


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


def test_the_same_images_give_the_same_bytes(grey: Prior, file: bytes) -> None:
    values = values_of(grey, 2)
    assert compress(grey, values) == file
    assert compress(grey, values.astype("uint8"), progress=True) == file
    assert compress(grey, values.tolist()) == file


def test_a_renamed_prior_is_the_same(grey: Prior, file: bytes) -> None:
    again = prior(GatedPixelCNN, GREY, name="another")
    np.testing.assert_array_equal(decompress(again, file, progress=True).images, values_of(grey, 2))


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


# Files that are refused -----------------------------------------------------------------------------------


def test_every_flipped_byte_is_noticed(grey: Prior, file: bytes) -> None:
    for place in range(len(file)):
        for bits in (1, 0x80, 0xFF):
            damaged = bytearray(file)
            damaged[place] ^= bits
            with pytest.raises(ValueError, match=r"begin with|has format|cut off|after its end|damaged"):
                decompress(grey, bytes(damaged))


def test_every_shorter_file_is_noticed(grey: Prior, file: bytes) -> None:
    for length in range(len(file)):
        with pytest.raises(ValueError, match="begin with" if length < 4 else "cut off"):
            decompress(grey, file[:length])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data + b"\0", r"goes on after its end: \d+ bytes; expected \d+"),
        (lambda data: data[:4] + b"\2" + data[5:], "has format 2; this version of tfprior reads format 1"),
        (lambda data: b"\x89PNG" + data[4:], r"begin with b'\\x89PNG'; expected b'\\x8ftfp'"),
    ],
)
def test_other_files_are_named(grey: Prior, file: bytes, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompress(grey, change(file))


def changed(file: bytes, **changes: Any) -> bytes:
    """The file with other entries of its header, and a checksum that fits."""
    header, words = container.read(file)
    return container.file_of(header._replace(**changes), words)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_images": 2**32 - 1},
            r"4,294,967,295 images in batches of 4, and its \d+ bytes hold [\d,]+ at most",
        ),
        ({"num_images": 0}, "damaged"),
        ({"batch_size": 0}, "damaged"),
        ({"batch_size": 60_000}, "damaged"),
        ({"images": bytes(8)}, "with tensorflow .* too, so most likely on another processor"),
        ({"num_images": 3}, "do not come out as they went in"),
        ({"batch_size": 1}, "do not come out as they went in"),
        (
            {
                "images": bytes(8),
                "environment": Environment("jax", "gpu", ((0, 10, 2), (3, 15, 1), (0, 1, 0))),
            },
            r"with jax 0\.10\.2 on gpu, and this is tfprior .* on cpu; decompress them there",
        ),
    ],
)
def test_false_headers_are_noticed(grey: Prior, file: bytes, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decompress(grey, changed(file, **changes))


def test_other_words_are_noticed(grey: Prior, file: bytes) -> None:
    header, words = container.read(file)
    for others in (words[4:], words[:4] + words[8:], bytes(len(words)), b"\xff" * len(words)):
        with pytest.raises(ValueError, match="do not come out as they went in"):
            decompress(grey, container.file_of(header, others))


def test_other_weights_and_other_architectures_are_named(grey: Prior, file: bytes) -> None:
    header = read_header(file)
    with pytest.raises(
        ValueError, match=rf"of other weights, {header.weights.hex()}, than .*'s, [0-9a-f]{{16}};"
    ):
        decompress(prior(GatedPixelCNN, GREY, seed=1), file)
    for other in (
        prior(GatedPixelCNN, GREY, num_layers=3),
        prior(PixelCNN, GREY),
        prior(PixelCNN, (6, 4, 1)),
    ):
        with pytest.raises(
            ValueError, match=rf"of other architecture, {header.architecture.hex()}, than this"
        ):
            decompress(other, file)


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


# The coder ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_levels", [2, 3, 256, 5000])
def test_any_probabilities_code_any_values(num_levels: int) -> None:
    rng = np.random.default_rng(num_levels)
    for power in (1, 20, 200):
        tables = rng.random((50, num_levels)).astype("float32") ** power + np.float32(1e-38)
        tables[::3, num_levels // 2 :] = 0
        tables[::3, 0] += np.float32(1e-38)
        tables /= tables.sum(-1, keepdims=True, dtype="float32")
        for values in (rng.integers(num_levels, size=50), np.zeros(50, int), np.full(50, num_levels - 1)):
            encoder = Encoder()
            encoder(tables, values)
            decoder = Decoder(encoder.data())
            np.testing.assert_array_equal(decoder(tables), values)
            assert decoder.is_exhausted()


def test_bits_are_those_of_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(256, 0.05), 5000).astype("float32")
    ends = tables.astype("float64").cumsum(-1)
    values = (ends < rng.random((5000, 1)) * ends[:, -1:]).sum(-1).clip(0, 255)
    encoder = Encoder()
    encoder(tables, values)
    bits = -np.log2(tables[np.arange(5000), values].astype("float64")).sum()
    assert abs(8 * len(encoder.data()) - bits) < 0.001 * bits + 64


def test_data_that_nobody_encodes_are_noticed() -> None:
    with pytest.raises(UndecodableError):
        Decoder(b"\xff" * 8)(np.full((100, 3), 1 / 3))


def test_the_header_has_the_layout_that_it_says(file: bytes) -> None:
    assert (container.SIZE, container.CHECKED.size) == (54, 45)
    assert file[:5] == b"\x8ftfp\x01"
    checksum, words, count, batch = struct.unpack("<IIIH", file[5:19])
    assert checksum == zlib.crc32(file[9:])
    assert (54 + 4 * words, count, batch) == (len(file), 2, 4)
    assert file[31:35] == bytes(4)
    assert file[43] == 1
    assert f"with {keras.backend.backend()} 2." in str(read_header(file).environment)


def test_strange_environments_have_a_name() -> None:
    unknown = Environment.unpacked(bytes([200, 200, 1, 2, 3, 3, 15, 1, 0, 1, 0]))
    assert str(unknown) == "tfprior 0.1.0 and Keras 3.15.1 with another backend 1.2.3 on another device"
    here = Environment.here()
    assert Environment.unpacked(here.packed()) == here


def test_features_are_not_images(grey: Prior) -> None:
    with pytest.raises(ValueError, match="expected integers"):
        compress(grey, features(2, *GREY))


def test_decoding_stops_when_the_words_are_used_up() -> None:
    table = np.full((1000, 4), 0.25)
    encoder = Encoder()
    encoder(table, np.zeros(1000, "int32"))
    decoder = Decoder(encoder.data())
    np.testing.assert_array_equal(decoder(table), 0)
    with pytest.raises(UndecodableError, match="used up before the values that they are said to hold"):
        decoder(table)


def test_a_file_of_more_images_than_its_words_hold_is_refused_at_once(
    grey: Prior, file: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = []
    code = batches_module.code_images
    monkeypatch.setattr(
        batches_module, "code_images", lambda *arguments: batches.append(1) or code(*arguments)
    )
    with pytest.raises(ValueError, match="do not come out as they went in"):
        decompress(grey, changed(file, num_images=100_000))
    assert len(batches) < 10


def test_an_interruption_that_a_callback_swallowed_still_stops(grey: Prior) -> None:
    class Deaf(Encoder):
        def __call__(self, *arguments: Any) -> np.ndarray:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            return super().__call__(*arguments)

    before = signal.getsignal(signal.SIGINT)
    values = values_of(grey, COUNT)
    with pytest.raises(KeyboardInterrupt):
        code_batches(grey, Deaf(), Contents(values, None), None, COUNT, COUNT, None)
    assert signal.getsignal(signal.SIGINT) is before
