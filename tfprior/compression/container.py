"""The file: a header of fixed size, then the words of the range coder.

    offset  bytes  what
         0      4  magic number
         4      1  format version
         5      4  CRC-32 of all that follows
         9      4  length of the coder's words, in words of four bytes
        13      4  number of images
        17      2  images in a batch
        19      4  digest of the model's architecture
        23      8  digest of its weights
        31      4  digest of vectors or maps that are the condition; zeros without
        35      8  digest of the images, and of their labels
        43      1  the order of the pixels: 0 raster, 1 Halton, k the k-th of `tfprior.orders.declared_orders`
        44     11  backend, device, and three bytes each for the versions of backend, Keras and tfprior

All numbers are little-endian, digests are the first bytes of SHA-256.
"""

import struct
import zlib
from typing import NamedTuple

from tfprior.compression.environment import Environment

MAGIC = b"\x8ftfp"
FORMAT = 2
START, CHECKED = struct.Struct("<4sBI"), struct.Struct("<IIH4s8s4s8sB11s")
SIZE = START.size + CHECKED.size
WORD = 4
MOST_IMAGES, MOST_IN_A_BATCH = 2**32 - 1, 2**16 - 1


class Header(NamedTuple):
    """What a file says of itself; digests as bytes."""

    num_images: int
    batch_size: int
    architecture: bytes
    weights: bytes
    condition: bytes
    images: bytes
    order: int
    environment: Environment


def file_of(header: Header, words: bytes) -> bytes:
    """The whole file."""
    *fields, environment = header
    rest = CHECKED.pack(len(words) // WORD, *fields, environment.packed()) + words
    return START.pack(MAGIC, FORMAT, zlib.crc32(rest)) + rest


def read(data: bytes) -> tuple[Header, bytes]:
    """The header and the words of the coder.

    Raises:
        ValueError: for what is no such file, of a newer format, cut off, longer than it says, or damaged.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise ValueError(
            f"The data begin with {data[: len(MAGIC)]!r}; expected {MAGIC!r}, a file of `tfprior compress`."
        )
    if len(data) > len(MAGIC) and data[len(MAGIC)] != FORMAT:
        raise ValueError(
            f"The file has format {data[len(MAGIC)]}; this version of tfprior reads format {FORMAT}: "
            "decompress it with the version that wrote it, or a newer one."
        )
    if len(data) < SIZE:
        raise ValueError(f"The file is cut off: {len(data)} bytes, and its header alone has {SIZE}.")
    _, _, checksum = START.unpack_from(data)
    num_words, *fields, environment = CHECKED.unpack_from(data, START.size)
    expected = SIZE + WORD * num_words
    if len(data) != expected:
        what = "is cut off" if len(data) < expected else "goes on after its end"
        raise ValueError(f"The file {what}: {len(data)} bytes; expected {expected}. Copy it anew.")
    if zlib.crc32(data[START.size :]) != checksum:
        raise ValueError("The file is damaged: its bytes are not those of its checksum. Copy it anew.")
    return Header._make([*fields, Environment.unpacked(environment)]), data[SIZE:]


def read_header(data: bytes) -> Header:
    """What a compressed file says of itself, without a model.

    Raises:
        ValueError: for what is no such file, of a newer format, cut off, longer than it says, or damaged.
    """
    return read(data)[0]
