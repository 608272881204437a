"""`tfprior sample` and `tfprior complete`: pictures drawn."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tfprior.cli.app import import_keras
from tfprior.cli.classes import amount, labels_of
from tfprior.cli.opening import drawing_at, images_of, open_model, source_at
from tfprior.cli.options import (
    DataOption,
    FinerOption,
    GuidanceOption,
    ImageSizeOption,
    IterationsOption,
    LevelsOption,
    MethodOption,
    RunArgument,
    SeedOption,
    TemperatureOption,
    TokenizerOption,
    TopKOption,
    TopPOption,
    check_suffix,
)


def sample(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE", help="A run, a .keras file or an exported bundle.")
    ],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("samples.png"),
    num: Annotated[int | None, typer.Option(min=1, help="How many; 64, or 8 of each class.")] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--class",
            help="Class to draw, by name or number, also several; all, or without --num the first ten.",
        ),
    ] = None,
    temperature: TemperatureOption = 1.0,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = 0,
    method: MethodOption = None,
    iterations: IterationsOption = None,
    guidance: GuidanceOption = None,
    columns: Annotated[int, typer.Option(min=1, help="Images in a row.")] = 8,
    npz: Annotated[
        Path | None, typer.Option(help="Also save the integers (.npz), as `values`, `codes` and `labels`.")
    ] = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
) -> None:
    """Draw images into a PNG; a bundle needs neither TensorFlow nor Keras for it.

    ```
    tfprior sample runs/digits --out samples.png
    tfprior sample runs/digits --class 3 --class 7 --num 16 --temperature 0.9
    tfprior sample runs/fashion --class trouser --class bag
    tfprior sample bundles/digits --npz samples.npz
    ```

    What a prior of codes draws is shown through their tokenizer; of two grids of codes,
    `tfprior sample runs/top --finer runs/bottom` draws both.
    """
    import numpy as np

    from tfprior.atomic import atomic_path
    from tfprior.pictures.sheets import save_grid

    if npz is not None:
        check_suffix("--npz", npz, ".npz")
    sampler, names, shows = drawing_at(source, tokenizer, finer)
    labels = labels_of(num, classes, sampler.num_classes, names)
    wanted: dict[str, Any] = {"iterations": iterations, "guidance": guidance}
    wanted |= {"top_k": top_k, "top_p": top_p, "method": method and method.value}
    options = {name: option for name, option in wanted.items() if option is not None}
    arrays = sampler.sample_parts(
        amount(num, labels), labels, seed=seed, temperature=temperature, **options, **shows
    )
    save_grid(arrays["values"], sampler.num_levels, out, columns)
    if npz is not None:
        with atomic_path(npz) as temporary:
            named = arrays if labels is None else {**arrays, "labels": labels}
            np.savez_compressed(temporary, allow_pickle=False, **named)
    typer.echo(f"{out}: {len(arrays['values'])} samples")


def complete(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("completion.png"),
    mask: Annotated[
        str,
        typer.Option(
            metavar="<part>",
            help="What is hidden: left, right, top, bottom, centre, random, FILE.png: bright where hidden.",
        ),
    ] = "bottom",
    num: Annotated[int, typer.Option(min=1, help="How many test images.")] = 8,
    completions: Annotated[int, typer.Option(min=1, help="Completions of each.")] = 6,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    temperature: TemperatureOption = 1.0,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = 0,
    method: MethodOption = None,
    iterations: IterationsOption = None,
    guidance: GuidanceOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
) -> None:
    """Complete test images of which a part is hidden.

    ```
    tfprior complete runs/digits --mask bottom --out completion.png
    tfprior complete runs/digits --mask centre --num 4 --completions 8
    tfprior complete runs/digits --mask drawn.png
    ```

    A prior of codes draws those of the hidden part, and --data are images.
    """
    import_keras()
    from tfprior.pictures.sheets import save_completions
    from tfprior.sampling.completion import complete_images
    from tfprior.sampling.masks import hidden_part

    model = open_model(run, tokenizer, finer)
    images = images_of(source_at(run), model, data, image_size, levels)
    hidden = hidden_part(mask, images.grid_shape)
    originals, drawn = complete_images(
        model,
        images,
        hidden,
        num,
        completions,
        seed=seed,
        method=method and method.value,
        iterations=iterations,
        guidance=guidance,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        progress=True,
    )
    save_completions(originals, hidden, drawn, images.num_levels, out)
    typer.echo(f"{out}: {len(originals)} images, {completions} completions each")
