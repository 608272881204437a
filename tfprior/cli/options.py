"""Options that several commands take, and the checks they share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tfprior.cli.errors import WrongUsage

DATA_HELP = (
    "digits, photos, mnist, fashion_mnist, cifar10, an .npz, .npy or .parquet file, or a folder (codes too)."
)


def size_of(word: str) -> int | list[int]:
    """32, or 32x48 as [32, 48]: height and width, as a run's config.json holds them.

    Raises:
        BadParameter: for anything else.
    """
    sides = [int(side) for side in word.lower().split("x") if side.isdecimal()]
    if not sides or word.lower() != "x".join(map(str, sides)) or len(sides) > 2 or min(sides) < 1:
        raise typer.BadParameter(f"{word} is no size; expected 32 or 32x48 for example.")
    return sides if len(sides) == 2 else sides[0]


class Method(StrEnum):
    cached = "cached"
    parallel = "parallel"
    parallel_rows = "parallel_rows"
    windowed = "windowed"
    auto = "auto"
    full = "full"
    sequential = "sequential"
    maskgit = "maskgit"
    halton = "halton"


class OrderName(StrEnum):
    raster = "raster"
    halton = "halton"


class Split(StrEnum):
    test = "test"
    train = "train"
    validation = "validation"


RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The --out of `tfprior train`, or a .keras file.")
]
TokenizerRunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The --out of `tfprior train vq_vae`, or a .keras file.")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Where the run of the tokenizer is now, of a prior of codes."),
]
FinerOption = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="RUN",
        help="Run of the prior of the finer grid of codes, where RUN is that of the coarsest.",
    ),
]
DataOption = Annotated[
    str | None,
    typer.Option("--data", help=f"Other data than the run's; of a .keras file the only ones: {DATA_HELP}"),
]
ImageSizeOption = Annotated[
    Any,
    typer.Option(
        parser=size_of,
        metavar="<size>",
        help="Side of the images of a folder, or height and width as 32x48: they are cropped and resized.",
    ),
]
CacheOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Keep the images of a folder here once they are decoded, more than memory holds.",
    ),
]
LevelsOption = Annotated[
    int | None,
    typer.Option(
        min=2,
        help="Number of levels of a pixel, where the data do not tell; fewer than theirs quantizes them.",
    ),
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result.")]
TemperatureOption = Annotated[float, typer.Option(help="Below 1 draws more probable images.")]
TopKOption = Annotated[int | None, typer.Option(help="Only the K most probable levels of a pixel.")]
TopPOption = Annotated[float | None, typer.Option(help="Only the levels that hold this probability.")]
GuidanceOption = Annotated[
    float | None,
    typer.Option(min=0, help="Draws away from what is no condition: (1 + w) · with − w · without."),
]
MethodOption = Annotated[
    Method | None,
    typer.Option(
        help="cached by default. All draw the same; full is slow, and defines the others. Of a masked prior: "
        "sequential by default, exact; maskgit or halton draw many values at once, about the same."
    ),
]
IterationsOption = Annotated[
    int | None, typer.Option(min=1, help="Passes of maskgit, 8 by default, or halton, 32.")
]
OrderOption = Annotated[OrderName, typer.Option(help="In which an any-order prior takes the pixels.")]


def check_suffix(option: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise WrongUsage(f"{option} {path}: expected a name that ends in {suffix}.")
