"""Damaged data files: each is refused in one sentence, or loads as what it was.

python -m tests.fuzz.fuzz_data --seed 0 --count 2000

refused   ValueError or OSError of one sentence
right     loaded, and equal to the original
changed   loaded with other values from a file whose format has no checksum over them (.npy, GIF, TIFF, BMP,
          JPEG, WebP), or whose checksums were made anew, as a hostile writer would
wrong     loaded with other values, although a checksum of the format (.npz, PNG) covers them
raw       another error, or a message that is no sentence
hung      more than ten seconds
"""

import argparse
import io
import random
import tempfile
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfprior import data

from .mutations import mutated, outcome

REFUSED = (ValueError, OSError)
KINDS = ("refused", "right", "changed", "wrong", "raw", "hung")


def sources() -> dict[str, bytes]:
    """Small valid files by name."""
    rng = np.random.default_rng(0)
    grey, colour = (rng.integers(256, size=shape).astype(np.uint8) for shape in ((9, 7), (9, 7, 3)))
    deep = rng.integers(65536, size=(9, 7)).astype(np.uint16)
    clear = rng.integers(256, size=(9, 7, 4)).astype(np.uint8)
    x = rng.integers(17, size=(6, 5, 4)).astype(np.uint8)
    arrays: dict[str, Any] = {
        "x_train": x, "y_train": np.arange(6), "x_test": x[:3], "y_test": np.arange(3), "num_levels": 17
    }  # fmt: skip
    codes = {"x_train": x, "x_test": x, "num_levels": 17, "are_codes": True}
    origin = {"tokenizer": "runs/a", "tokenizer_digest": "ab", "tokenizer_images": "{}"}
    palette = Image.fromarray(colour).quantize(16)
    pictures = {
        "grey.png": (grey, {}), "colour.png": (colour, {}), "clear.png": (clear, {}), "deep.png": (deep, {}),
        "palette.png": (palette, {"transparency": 3}),
        "grey.gif": (grey, {}), "palette.gif": (palette, {"transparency": 3}),
        "grey.tiff": (grey, {}), "deep.tiff": (deep, {}),
        "packed.tiff": (colour, {"compression": "tiff_lzw"}),
        "deflated.tiff": (clear, {"compression": "tiff_adobe_deflate"}),
        "colour.jpg": (colour, {}), "colour.webp": (colour, {"lossless": True}), "colour.bmp": (colour, {}),
    }  # fmt: skip
    return {
        "deflated.npz": _written(np.savez_compressed, **arrays),
        "stored.npz": _written(np.savez, **arrays),
        "codes.npz": _written(np.savez_compressed, **codes, **origin),
        "images.npy": _written(np.save, x),
        **{name: _picture(name, image, options) for name, (image, options) in pictures.items()},
    }


def _written(save: Any, *given: Any, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, *given, **arrays)
    return stream.getvalue()


def _picture(name: str, image: Any, options: dict[str, Any]) -> bytes:
    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    picture.save(stream, {"jpg": "JPEG"}.get(name.split(".")[1], name.split(".")[1]), **options)
    return stream.getvalue()


def place(name: str, content: bytes, folder: Path) -> Path:
    """Writes the file, an image as the only one of a folder's two parts; returns what `load` takes."""
    if name.endswith((".npz", ".npy")):
        (folder / name).write_bytes(content)
        return folder / name
    for part in ("train", "test"):
        (folder / name / part).mkdir(parents=True, exist_ok=True)
        (folder / name / part / f"a{Path(name).suffix}").write_bytes(content)
    return folder / name


def sealed_npz(content: bytes, rng: random.Random) -> bytes:
    """The archive with one damaged array, and checksums that fit it."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = rng.choice(list(members))
    members[name] = mutated(members[name], rng)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for member, body in members.items():
            archive.writestr(member, body)
    return stream.getvalue()


def sealed_png(content: bytes, rng: random.Random) -> bytes:
    """The image with one damaged chunk, and checksums that fit it; pixels are damaged below their packing."""
    chunks, place = [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    damaged = rng.randrange(len(chunks))
    kind, body = chunks[damaged]
    if kind == b"IDAT" and rng.random() < 0.5:
        body = zlib.compress(mutated(zlib.decompress(body), rng))
    else:
        body = mutated(body, rng)
    chunks[damaged] = kind, body
    return content[:8] + b"".join(
        len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
        for kind, body in chunks
    )


SEALED = {".npz": sealed_npz, ".png": sealed_png}


def equal(one: data.Images, two: data.Images) -> bool:
    fields = ("x_train", "y_train", "x_test", "y_test")
    facts = ("grid_shape", "num_levels", "are_codes", "origin")
    return all(getattr(one, name) == getattr(two, name) for name in facts) and all(
        np.array_equal(getattr(one, name), getattr(two, name)) for name in fields
    )


def tries(seed: int, count: int) -> Iterator[tuple[str, str, bytes, Any]]:
    """What became of each of `count` damaged files: kind, name, content, and the error or images."""
    rng = random.Random(seed)
    files = sources()
    with tempfile.TemporaryDirectory() as place_of_all, warnings.catch_warnings(action="ignore"):
        folder = Path(place_of_all)
        originals = {name: data.load(place(name, content, folder)) for name, content in files.items()}
        for _ in range(count):
            name = rng.choice(list(files))
            seal = SEALED.get(Path(name).suffix)
            checked = seal is not None and rng.random() < 0.6
            content = files[name] if seal is None or checked else seal(files[name], rng)
            for _ in range(rng.choice((1, 1, 1, 2)) if content is files[name] else 0):
                content = mutated(content, rng)
            path = place(name, content, folder)
            kind, value = outcome(lambda path=path: data.load(path), REFUSED)
            if kind == "returned":
                kind = "right" if equal(value, originals[name]) else "wrong" if checked else "changed"
            yield kind, name, content, value


def run(seed: int, count: int) -> Counter[str]:
    """How many of `count` damaged files were refused, right, changed, wrong, raw and hung."""
    return Counter(kind for kind, *_ in tries(seed, count))


def main() -> None:
    parser = argparse.ArgumentParser(description="Loads damaged data files and counts what becomes of them.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--keep", type=Path, help="folder for the files that were wrong, raw or hung")
    options = parser.parse_args()
    counts: Counter[str] = Counter()
    for number, (kind, name, content, value) in enumerate(tries(options.seed, options.count)):
        counts[kind] += 1
        if kind in ("wrong", "raw", "hung"):
            print(f"{kind} {number}-{name}: {value!r:.300}")
            if options.keep is not None:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}-{name}").write_bytes(content)
    print(", ".join(f"{kind} {counts[kind]}" for kind in KINDS))


if __name__ == "__main__":
    main()
