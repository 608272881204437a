"""Priors, tokenizers and generators from runs and files, each refused where another is expected."""

import os
from pathlib import Path

from tfprior.generator import Generator
from tfprior.grid_model import GridModel
from tfprior.priors.base import Prior
from tfprior.runs.model_file import load_model
from tfprior.runs.run_folder import load_run
from tfprior.tokenizers.base import Tokenizer


def load_prior(path: str | os.PathLike[str]) -> Prior:
    """The best prior of a run, or the one in a .keras file.

    Raises:
        FileNotFoundError: for a missing file, and a run before its first epoch ended.
        ValueError: for a file that is damaged, and a tokenizer.
    """
    model = _load(path)
    if not isinstance(model, Prior):
        raise ValueError(
            f"{path} is a tokenizer; train a prior on its codes: `tfprior encode {path} --out codes.npz`, "
            "then `tfprior train --data codes.npz`."
        )
    return model


def load_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The best tokenizer of a run, or the one in a .keras file.

    Raises:
        FileNotFoundError: for a missing file, and a run before its first epoch ended.
        ValueError: for a file that is damaged, and a prior.
    """
    model = _load(path)
    if not isinstance(model, Tokenizer):
        raise ValueError(f"{path} is a prior; expected a tokenizer, of `tfprior train vq_vae`.")
    return model


def load_generator(run: str | os.PathLike[str], tokenizer: str | os.PathLike[str] | None = None) -> Generator:
    """The prior of a run on codes together with the tokenizer that gave them.

    Args:
        run: a run on codes, or a .keras file of its prior.
        tokenizer: run or .keras file of the tokenizer; where the run remembers it when left out.

    Raises:
        FileNotFoundError: where no tokenizer is named or remembered, or it is no longer there.
        ValueError: for a run on images, and another tokenizer than the one that gave the codes.
    """
    prior = load_prior(run)
    folder = load_run(run) if Path(run).is_dir() else None
    if folder is not None and not folder.of_codes:
        raise ValueError(f"{run} is a prior of images and needs no tokenizer; leave it out.")
    origin = folder.codes_origin if folder is not None else None
    place = tokenizer or (origin and origin.tokenizer)
    if place is None:
        raise FileNotFoundError(
            f"{run} does not tell the tokenizer of its codes; name its run: --tokenizer RUN."
        )
    if tokenizer is None and not Path(place).exists():
        raise FileNotFoundError(
            f"{place}, the tokenizer of {run}, is no longer there; tell where its run is: --tokenizer RUN."
        )
    model = load_tokenizer(place)
    if origin is not None and model.weights_digest() != origin.digest:
        raise ValueError(
            f"{place} is not the tokenizer of {run}: its weights are not those that gave the codes; choose "
            "another with --tokenizer RUN, or encode and train anew."
        )
    return Generator(model, prior)


def _load(path: str | os.PathLike[str]) -> GridModel:
    return load_run(path).load() if Path(path).is_dir() else load_model(path)
