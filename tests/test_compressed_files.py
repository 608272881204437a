"""Compressed files: the same bytes for the same images, and files that are refused."""

import struct
import zlib
from typing import Any

import keras
import numpy as np
import pytest
from catalogue import GREY, prior, values_of

from tfprior.compression import batches as batches_module
from tfprior.compression import compress, container, decompress, read_header
from tfprior.compression.environment import Environment
from tfprior.priors import GatedPixelCNN, PixelCNN, Prior


@pytest.fixture(scope="module")
def grey() -> Prior:
    return prior(GatedPixelCNN, GREY)


@pytest.fixture(scope="module")
def file(grey: Prior) -> bytes:
    return compress(grey, values_of(grey, 2))


def test_the_same_images_give_the_same_bytes(grey: Prior, file: bytes) -> None:
    values = values_of(grey, 2)
    assert compress(grey, values) == file
    assert compress(grey, values.astype("uint8"), progress=True) == file
    assert compress(grey, values.tolist()) == file


@pytest.mark.xla
def test_a_renamed_prior_is_the_same(grey: Prior) -> None:
    again, values = prior(GatedPixelCNN, GREY, name="another"), values_of(grey, 2)
    np.testing.assert_array_equal(decompress(again, compress(grey, values), progress=True).images, values)


def test_the_header_has_the_layout_that_it_says(file: bytes) -> None:
    assert (container.SIZE, container.CHECKED.size) == (55, 46)
    assert file[:5] == b"\x8ftfp\x02"
    checksum, words, count, batch = struct.unpack("<IIIH", file[5:19])
    assert checksum == zlib.crc32(file[9:])
    assert (55 + 4 * words, count, batch) == (len(file), 2, 4)
    assert file[31:35] == bytes(4)
    assert file[43:45] == b"\x00\x01"
    assert f"with {keras.backend.backend()} 2." in str(read_header(file).environment)


def test_strange_environments_have_a_name() -> None:
    unknown = Environment.unpacked(bytes([200, 200, 1, 2, 3, 3, 15, 1, 0, 1, 0]))
    assert str(unknown) == "tfprior 0.1.0 and Keras 3.15.1 with another backend 1.2.3 on another device"
    here = Environment.here()
    assert Environment.unpacked(here.packed()) == here


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
        (lambda data: data[:4] + b"\3" + data[5:], "has format 3; this version of tfprior reads format 2"),
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
