"""Whether a PNG file is whole: Pillow compares no checksum of pixels, and takes missing rows for black."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: grey, RGB, palette, grey and alpha, RGBA
# Adam7: the seven images of an interlaced one, each as first column and row, and steps between them
PASSES = (
    (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2),
)  # fmt: skip
PIECE = 2**20


def check_png(stream: IO[bytes]) -> int:
    """Bits of a channel.

    Raises:
        ValueError: for a wrong checksum, and for fewer pixels than the header tells.
    """
    stream.seek(8)
    chunks = _chunks(stream)
    kind, header = next(chunks)
    if kind != b"IHDR" or len(header) != 13:
        raise ValueError("its header is not the first part")
    width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    missing = _packed_size(width, height, bits * CHANNELS[colour], bool(interlaced))
    inflate = zlib.decompressobj()
    for kind, body in chunks:
        while kind == b"IDAT" and missing > 0:
            rows = inflate.decompress(body, PIECE)
            missing -= len(rows)
            body = inflate.unconsumed_tail
            if len(rows) < PIECE:  # all that this part gives
                break
    if missing > 0:
        raise ValueError(f"{missing} bytes of its pixels are missing")
    return int(bits)


def _chunks(stream: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each part up to the last one."""
    kind = b""
    while kind != b"IEND":
        length, kind = struct.unpack(">I4s", stream.read(8))
        body = stream.read(length)
        if stream.read(4) != struct.pack(">I", zlib.crc32(body, zlib.crc32(kind))):
            raise ValueError(f"its part {kind.decode('latin-1')!r} has a wrong checksum")
        yield kind, body


def _packed_size(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Bytes of all rows, each of which begins with one that tells its filter."""
    size = 0
    for left, top, across, down in PASSES if interlaced else ((0, 0, 1, 1),):
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        size += rows * (1 + -(-columns * bits // 8)) if columns > 0 and rows > 0 else 0
    return size
