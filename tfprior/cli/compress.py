"""`tfprior compress` and `tfprior decompress`: images without loss in as many bits as a prior needs."""

import math
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.opening import images_of, open_model, source_at
from tfprior.cli.options import (
    DataOption,
    FinerOption,
    ImageSizeOption,
    LevelsOption,
    OrderName,
    OrderOption,
    RunArgument,
    Split,
    TokenizerOption,
    check_suffix,
)

BatchSizeOption = Annotated[int, typer.Option(min=1, max=65535, help="Images coded side by side.")]


def compress(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The file to write.")],
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    num: Annotated[
        int | None, typer.Option(min=1, help="How many of them, of each class in turn; all when left out.")
    ] = None,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    batch_size: BatchSizeOption = 128,
    order: OrderOption = OrderName.raster,
) -> None:
    """Compress images without loss, and compare with PNG and lossless WebP.

    ```
    tfprior compress runs/digits --out images.tfp
    tfprior compress runs/digits --data more_images.npz --num 200 --out images.tfp
    ```

    Labels of a conditional prior go into the file too. Only the same weights give the images back, with the
    same versions of everything and on the same kind of processor.
    """
    import_keras()
    import numpy as np

    from tfprior import compression
    from tfprior.atomic import atomic_path
    from tfprior.cli.tables import size_table
    from tfprior.data import spread
    from tfprior.image_files import fits_files
    from tfprior.measuring.baselines import smallest_files

    source = source_at(run)
    model = open_model(run, tokenizer, finer)
    images = images_of(source, model, data, image_size, levels)
    values, labels = source.part_of(images, split.value)
    chosen = np.sort(spread(labels, len(values))[:num])
    values = values[chosen]
    condition = labels[chosen] if labels is not None and model.num_classes is not None else None
    start = time.monotonic()
    written = compression.compress(model, values, condition, batch_size, progress=True, order=order.value)
    seconds = time.monotonic() - start
    with atomic_path(out) as temporary:
        temporary.write_bytes(written)
    along = {} if order is OrderName.raster else {"order": order.value}
    nats = model.log_prob(values, condition, batch_size, **along).sum(dtype="float64")
    sizes = {str(out): float(len(written)), "the likelihood of its images": -nats / math.log(2) / 8}
    if fits_files(images.num_levels, values.shape[-1]):
        sizes.update(smallest_files(values, images.num_levels))
    title = f"{images.name}, {split.value} split, {len(values)} images"
    plain_console().print(size_table(title, sizes, values.size))
    for_labels = len(values) * math.log2(model.num_classes or 1) / 8
    of_them = "" if condition is None else f", {for_labels:,.0f} of them for labels"
    typer.echo(f"{out}: {len(values)} images in {len(written):,} bytes{of_them}, {seconds:.1f} s")


def decompress(
    run: RunArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The --out of `tfprior compress`.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write: images, and labels if there are any.")],
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
) -> None:
    """Give back the images of a compressed file, to the last bit.

    ```
    tfprior decompress runs/digits images.tfp --out images.npz
    ```

    A file that is damaged, or of another prior, is refused.
    """
    check_suffix("--out", out, ".npz")
    import_keras()
    import numpy as np

    from tfprior import compression
    from tfprior.atomic import atomic_path

    data = file.read_bytes()
    compression.read_header(data)  # what is no such file need not wait for the model
    model = open_model(run, tokenizer, finer)
    images, labels = compression.decompress(model, data, progress=True)
    dtype = np.min_scalar_type(model.num_levels - 1)
    arrays: dict[str, Any] = {"images": images.astype(dtype)}
    if labels is not None:
        arrays["labels"] = labels
    with atomic_path(out) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    typer.echo(f"{out}: {len(images)} images{'' if labels is None else ' and their labels'}")
