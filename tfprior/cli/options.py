"""Options that several commands take, and the checks they share."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tfprior.cli.errors import WrongUsage

DATA_HELP = "digits, photos, mnist, fashion_mnist, cifar10, an .npz file (codes too) or a folder of images."


class Method(StrEnum):
    cached = "cached"
    parallel = "parallel"
    parallel_rows = "parallel_rows"
    auto = "auto"
    full = "full"


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
DataOption = Annotated[
    str | None,
    typer.Option("--data", help=f"Other data than the run's; of a .keras file the only ones: {DATA_HELP}"),
]
ImageSizeOption = Annotated[int | None, typer.Option(min=1, help="Side of the images of a folder.")]
LevelsOption = Annotated[
    int | None, typer.Option(min=2, help="Number of levels, where the data do not tell.")
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result.")]
TemperatureOption = Annotated[float, typer.Option(help="Below 1 draws more probable images.")]
TopKOption = Annotated[int | None, typer.Option(help="Only the K most probable levels of a pixel.")]
TopPOption = Annotated[float | None, typer.Option(help="Only the levels that hold this probability.")]
MethodOption = Annotated[
    Method, typer.Option(help="All draw the same; full is slow, and the definition of the others.")
]


def check_suffix(option: str, path: Path, suffix: str) -> None:
    if path.suffix != suffix:
        raise WrongUsage(f"{option} {path}: expected a name that ends in {suffix}.")
