"""Runs, models and data that the arguments of a command name."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tfprior.cli.app import import_keras
from tfprior.cli.errors import WrongUsage

if TYPE_CHECKING:
    import numpy as np

    from tfprior.data import CodesOrigin, Images
    from tfprior.generator import Generator
    from tfprior.grid_model import GridModel
    from tfprior.image_model import ImageModel, ImageSampler
    from tfprior.runs import RunFolder

MANIFEST = "manifest.json"


LOADED = ("name_or_path", "image_size", "num_levels", "cache")
"""Arguments of `load` that a run remembers."""


def resolved_path(data: str) -> str:
    """What exists as a path independent of the working folder; a known name as it is."""
    from tfprior.data.loading import NAMED

    path = Path(data).expanduser()
    return str(path.resolve()) if data and data not in NAMED and path.exists() else data


@dataclass(frozen=True)
class Source:
    """What a command was pointed at: a run, or a model in a .keras file, which knows of no data.

    Attributes:
        path: of the run or the file.
        run: None for a file.
    """

    path: Path
    run: "RunFolder | None"

    @property
    def of_codes(self) -> bool:
        """Whether it is a run on codes; what a file was trained on is not known."""
        return self.run is not None and self.run.of_codes

    @property
    def codes_origin(self) -> "CodesOrigin | None":
        return self.run and self.run.codes_origin

    def class_names(self) -> tuple[str, ...]:
        """Of what it was trained on, or of the images of its codes; none where the data have no names."""
        from tfprior.data import load

        names = self.run and self.run.config["data"].get("class_names")
        if names is None and self.codes_origin is not None:
            with contextlib.suppress(OSError, ValueError):  # no longer there: numbers still do
                names = load(**self.codes_origin.images).class_names
        return tuple(names or ())

    def own_data(self, through_codes: bool) -> dict[str, Any] | None:
        """Arguments of `load` that give what it was trained on; through its codes, their images."""
        if through_codes:
            return self.codes_origin and self.codes_origin.images
        return self.run and self.run.config["data"]

    def model(self) -> "GridModel":
        """The best prior or tokenizer of the run, or the one in the file."""
        from tfprior.runs import load_model

        return load_model(self.path) if self.run is None else self.run.load()

    def part_of(self, images: "Images", split: str) -> "tuple[np.ndarray, np.ndarray | None]":
        """(values, labels) of the split.

        Raises:
            WrongUsage: for a part of the training images, of which a file does not tell.
        """
        from tfprior.data import split_of

        if self.run is not None:
            return split_of(images, split, self.run.config["options"])
        if split != "test":
            raise WrongUsage(f"--split {split}: {self.path} does not tell what was held out; leave it out.")
        return split_of(images, split, {})


def source_at(path: Path) -> Source:
    """The run or the file; a bundle is neither.

    Raises:
        FileNotFoundError: where there is nothing, or no run.
        ValueError: for a damaged run, and a bundle.
    """
    from tfprior.runs import load_run

    if (path / MANIFEST).exists():
        raise ValueError(f"{path} is a bundle; expected a run or a .keras file.")
    return Source(path, None if path.is_file() else load_run(path))


def images_of(
    source: Source,
    model: "GridModel | ImageModel",
    data: str | None,
    image_size: int | list[int] | None,
    levels: int | None,
) -> "Images":
    """The run's own data, or other data of the grid of its model: a generator's are images.

    Raises:
        ValueError: for data that the model does not fit.
        WrongUsage: where no data are named and none are remembered.
    """
    from tfprior.data import load

    through_codes = model.tokenizer is not None
    arguments: dict[str, Any] | None = {"name_or_path": data, "image_size": image_size, "num_levels": levels}
    if data is None:
        arguments = source.own_data(through_codes)
    if arguments is None:
        what = "the images of its codes" if through_codes else "its data"
        raise WrongUsage(f"{source.path} does not tell {what}; name them: --data.")
    images = load(**{name: arguments.get(name) for name in LOADED})
    grid, num_levels = model.grid_shape, model.num_levels
    are_codes = not through_codes and (source.of_codes if source.run else images.are_codes)
    if (images.grid_shape, images.num_levels, images.are_codes) != (grid, num_levels, are_codes):
        remedy = (
            ": encode the images first, with `tfprior encode`" if are_codes and not images.are_codes else ""
        )
        raise ValueError(
            f"{images.name} has grids {images.grid_shape} of {images.num_levels} "
            f"{'codes' if images.are_codes else 'levels'}; expected {grid} of {num_levels}"
            f"{' codes' if are_codes else ''}, as {source.path} was trained on{remedy}."
        )
    origin = source.codes_origin
    if origin and images.origin and origin.digest != images.origin.digest:
        raise ValueError(
            f"{images.name} holds codes of another tokenizer than {source.path} was trained on; encode the "
            f"images with {origin.tokenizer}."
        )
    if origin and images.origin and origin.grid != images.origin.grid:
        raise ValueError(
            f"{images.name} holds codes of grid {images.origin.grid}; expected those of grid {origin.grid}, "
            f"as {source.path} was trained on."
        )
    return images


def open_model(path: Path, tokenizer: Path | None, finer: list[Path] | None) -> "ImageModel":
    """A prior of images, or a prior of codes with its tokenizer and the priors of the finer codes."""
    from tfprior.runs import load_image_model

    return load_image_model(path, tokenizer, finer or ())


class Drawing(NamedTuple):
    """What draws images: a model, or a bundle, which needs neither Keras nor TensorFlow.

    Attributes:
        sampler: of the images.
        class_names: of their labels; none where only numbers are known.
        shows: options by which it shows how far it is.
    """

    sampler: "ImageSampler"
    class_names: tuple[str, ...]
    shows: dict[str, bool]


def drawing_at(path: Path, tokenizer: Path | None, finer: list[Path] | None) -> Drawing:
    """What draws the images of a run, a .keras file or a bundle."""
    if not (path / MANIFEST).exists():
        import_keras()
        return Drawing(open_model(path, tokenizer, finer), source_at(path).class_names(), {"progress": True})
    if tokenizer is not None:
        raise WrongUsage("--tokenizer: a bundle has its tokenizer inside; leave it out.")
    if finer:
        raise WrongUsage("--finer: a bundle has all of its priors inside; leave it out.")
    from tfprior.export.client import open_bundle

    bundle = open_bundle(path)
    return Drawing(bundle, bundle.class_names, {})


def generator_of(
    source: Source, tokenizer: Path | None, finer: list[Path] | None
) -> "tuple[Generator | None, str]":
    """A prior of codes with its tokenizer; or None, and why that gives no images.

    So it is where the remembered tokenizer is gone, and of one of several priors alone.
    """
    from tfprior.runs import load_generator

    origin = source.codes_origin
    if origin is not None and origin.num_grids > 1 and not finer:
        name = f"{source.path} is the prior of grid {origin.grid} of {origin.num_grids}"
        return None, f"{name}; the bound takes all: RUN --finer RUN."
    try:
        return load_generator(source.path, tokenizer, finer or ()), ""
    except FileNotFoundError as error:
        if tokenizer is not None:
            raise
        return None, str(error)
