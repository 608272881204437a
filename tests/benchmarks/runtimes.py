"""Six priors in every runtime that is installed: are their integers equal, and how long does a step take?

    python tests/benchmarks/runtimes.py                    # exports, then `tfprior verify --runtimes all`
    python tests/benchmarks/runtimes.py --folder bundles   # keeps them there, or finds them there again

The priors are untrained. A row is a runtime, a cell the microseconds of a step of one image and of 16 at
once, by the fastest loop from outside and on one thread; — where integers differ, and below why.
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CODES = (7, 7, 1)


def gated(grid: tuple[int, int, int], levels: int, **options: Any) -> Any:
    from tfprior.distributions import Categorical
    from tfprior.priors import GatedPixelCNN

    return GatedPixelCNN(grid, Categorical(levels), filters=66, num_layers=4, **options)


def pixelcnn_pp() -> Any:
    from tfprior.distributions import DiscretizedLogisticMixture
    from tfprior.priors import PixelCNNPP

    mixture = DiscretizedLogisticMixture(5, 256)
    return PixelCNNPP((16, 16, 3), mixture, filters=32, num_layers=2, num_stages=2)


def generator() -> Any:
    from tfprior.distributions import DiscretizedLogistic
    from tfprior.generator import Generator
    from tfprior.quantizers import VectorQuantizer
    from tfprior.tokenizers import VQVAE

    tokenizer = VQVAE((28, 28, 1), VectorQuantizer(256, 32), DiscretizedLogistic(256), downsampling=4)
    return Generator(tokenizer, gated(tokenizer.code_shape, 256))


def transformer(name: str) -> Any:
    from tfprior import priors
    from tfprior.distributions import Categorical

    sizes = {"num_layers": 4, "num_heads": 4, "hidden_dim": 128}
    return getattr(priors, name)(CODES, Categorical(256), **sizes)


MODELS: dict[str, Callable[[], Any]] = {
    "Gated, grey": lambda: gated((28, 28, 1), 256, num_classes=10),
    "Gated, RGB": lambda: gated((16, 16, 3), 256),
    "PixelCNN++, RGB": pixelcnn_pp,
    "VQ-VAE and Gated": generator,
    "causal": lambda: transformer("CausalTransformer"),
    "any-order": lambda: transformer("AnyOrderTransformer"),
}


def bundle_of(name: str, folder: Path) -> Path:
    import keras

    from tfprior import export
    from tfprior.export.bundle import FORMATS

    path = folder / name.replace(", ", "-").replace(" ", "-")
    if not path.exists():
        keras.utils.set_random_seed(0)
        export.save(MODELS[name](), path, formats=FORMATS)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        paths = [bundle_of(name, options.folder or Path(scratch)) for name in MODELS]
        measure(paths)


def measure(paths: list[Path]) -> None:
    from tfprior.export.runtime_table import runtime_table

    tables = [{row.runtime: row for row in runtime_table(path)} for path in paths]
    runtimes = list(dict.fromkeys(runtime for table in tables for runtime in table))
    print("| µs a step × 1, × 16 | " + " | ".join(MODELS) + " |")
    print("| --- |" + " ---: |" * len(MODELS))
    for runtime in runtimes:
        cells = [cell(table[runtime]) if runtime in table else "" for table in tables]
        print(f"| {runtime} | " + " | ".join(cells) + " |")
    for name, table in zip(MODELS, tables, strict=True):
        right = [row for row in table.values() if not row.fault]
        print(f"{name}: {max(row.integers for row in right):,} integers equal in {len(right)} runtimes")
    for fault in sorted({row.fault for table in tables for row in table.values() if row.fault}):
        print(fault)


def cell(row: Any) -> str:
    return "—" if row.fault else ", ".join(f"{microseconds:.0f}" for microseconds in row.microseconds)


if __name__ == "__main__":
    main()
