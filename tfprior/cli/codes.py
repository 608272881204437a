"""`tfprior encode` and `tfprior reconstruct`: what a tokenizer, or an encoder in training, does to images."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfprior.cli.app import import_keras
from tfprior.cli.opening import LOADED, images_of, resolved_path, source_at
from tfprior.cli.options import (
    DataOption,
    ImageSizeOption,
    LevelsOption,
    Split,
    TokenizerRunArgument,
    check_suffix,
)


def encode(
    run: TokenizerRunArgument,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
) -> None:
    """Write the codes of a data set, to train a prior on with `tfprior train --data`.

    ```
    tfprior encode runs/tokenizer --out codes.npz
    tfprior encode runs/tokenizer --data more_images.npz --out more_codes.npz
    ```

    The file has x_train, x_test, num_levels and, if there are labels, y_train and y_test; it remembers the
    tokenizer and a digest of its weights. Of several grids of codes each gets a file: codes_0.npz of the
    coarsest, codes_1.npz of the finer ones with the coarser ones, given which they are learned.
    """
    check_suffix("--out", out, ".npz")
    import_keras()
    from tfprior.data import CodesOrigin, encode_grids, save_npz
    from tfprior.runs import load_tokenizer

    source, model = source_at(run), load_tokenizer(run)
    images = images_of(source, model, data, image_size, levels)
    own = source.own_data(through_codes=False) or {}
    shown = (
        {name: own[name] for name in LOADED if name in own}
        if data is None
        else {"name_or_path": resolved_path(data), "image_size": image_size, "num_levels": levels}
    )
    origin = CodesOrigin(str(run.resolve()), model.weights_digest(), shown)
    grids = encode_grids(model, images, origin)
    for index, codes in enumerate(grids):
        file = out if len(grids) == 1 else out.with_stem(f"{out.stem}_{index}")
        save_npz(codes, file)
        grid = " × ".join(map(str, codes.grid_shape))
        typer.echo(
            f"{file}: {len(codes.x_train)} training and {len(codes.x_test)} test grids, {grid} of "
            f"{codes.num_levels} codes"
        )


def reconstruct(
    run: TokenizerRunArgument,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("reconstructions.png"),
    num: Annotated[int, typer.Option(min=1, help="How many images, of each class in turn.")] = 32,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    columns: Annotated[int, typer.Option(min=1, help="Images in a row.")] = 8,
) -> None:
    """Draw images above what is left of them when they are encoded and decoded.

    ```
    tfprior reconstruct runs/tokenizer --out reconstructions.png
    tfprior reconstruct runs/tokenizer --num 8 --split train
    tfprior reconstruct runs/encoder
    ```

    Of an encoder, of `tfprior pretrain`, each image stands above what is visible of it, and what the model
    makes of that.
    """
    import_keras()
    from tfprior.data import spread
    from tfprior.pictures import save_masked, save_reconstructions
    from tfprior.runs import load_tokenizer

    source = source_at(run)
    found = source.model()
    model: Any = found if found.kind == "encoder" else load_tokenizer(run)
    images = images_of(source, model, data, image_size, levels)
    values, labels = source.part_of(images, split.value)
    some = values[spread(labels, len(values))[:num]]
    made = model.reconstruct(some)
    if model.kind == "encoder":
        save_masked(made.images, made.masked, made.reconstruction, out, columns)
    else:
        save_reconstructions(some, made, images.num_levels, out, columns)
    typer.echo(f"{out}: {len(some)} images above their reconstructions")
