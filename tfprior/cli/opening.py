"""Runs, models and data that the arguments of a command name."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from tfprior.data import Images
    from tfprior.generator import Generator
    from tfprior.image_model import ImageModel
    from tfprior.runs import RunFolder

MANIFEST = "manifest.json"


def whole_path(data: str) -> str:
    """What exists as a path independent of the working folder; a known name as it is."""
    from tfprior.data.loading import NAMED

    path = Path(data).expanduser()
    return str(path.resolve()) if data and data not in NAMED and path.exists() else data


def images_of(
    run: "RunFolder",
    data: str | None,
    image_size: int | None,
    levels: int | None,
    drawn_by: "ImageModel | None" = None,
) -> "Images":
    """The run's own data, or other data of the same grid; with a generator, its images instead of codes.

    Raises:
        ValueError: for data that the run does not fit.
    """
    from tfprior.data import load

    own = run.config["data"]
    grid, num_levels, are_codes = tuple(own["grid_shape"]), own["levels"], run.of_codes
    if drawn_by is not None and drawn_by.tokenizer is not None:
        origin, are_codes = run.codes_origin, False
        grid, num_levels = drawn_by.grid_shape, drawn_by.num_levels
        if origin is None and data is None:
            raise typer.BadParameter(f"{run.path} does not tell the images of its codes; name them: --data.")
        own = {} if origin is None else origin.images
    images = load(
        data if data is not None else own["name_or_path"],
        image_size=image_size if data is not None else own.get("image_size"),
        num_levels=levels if data is not None else own.get("num_levels"),
    )
    if (images.grid_shape, images.num_levels, images.are_codes) != (grid, num_levels, are_codes):
        remedy = (
            ": encode the images first, with `tfprior encode`" if are_codes and not images.are_codes else ""
        )
        raise ValueError(
            f"{images.name} has grids {images.grid_shape} of {images.num_levels} "
            f"{'codes' if images.are_codes else 'levels'}; expected {grid} of {num_levels}"
            f"{' codes' if are_codes else ''}, as {run.path} was trained on{remedy}."
        )
    if run.codes_origin and images.origin and run.codes_origin.digest != images.origin.digest:
        raise ValueError(
            f"{images.name} holds codes of another tokenizer than {run.path} was trained on; encode the "
            f"images with {run.codes_origin.tokenizer}."
        )
    return images


def open_model(path: Path, tokenizer: Path | None) -> "ImageModel":
    """A prior of images, or a prior of codes with its tokenizer."""
    from tfprior.runs import load_generator, load_prior, load_run

    if tokenizer is not None or (path.is_dir() and load_run(path).of_codes):
        return load_generator(path, tokenizer)
    return load_prior(path)


def generator_of(run: "RunFolder", tokenizer: Path | None) -> "Generator | None":
    """A prior of codes with its tokenizer; None, and a sentence on why, where the remembered one is gone."""
    from tfprior.runs import load_generator

    try:
        return load_generator(run.path, tokenizer)
    except FileNotFoundError as error:
        if tokenizer is not None:
            raise
        typer.echo(f"Bits per code alone: {error}", err=True)
        return None


def unit_of(images: "Images") -> str:
    return "bits/code" if images.are_codes else "bits/dim"
