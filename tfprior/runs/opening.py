"""Priors, tokenizers, generators and encoders from runs and files, each refused where another is expected."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tfprior.data import CodesOrigin
from tfprior.encoders import Encoder
from tfprior.generator import Generator
from tfprior.grid_model import GridModel
from tfprior.layers import ImageScaling
from tfprior.priors.base import Prior
from tfprior.runs.model_file import load_model, read_model
from tfprior.runs.run_folder import load_run
from tfprior.tokenizers.base import Tokenizer


def load_prior(path: str | os.PathLike[str]) -> Prior:
    """The best prior of a run, or the one in a .keras file.

    Raises:
        FileNotFoundError: for a missing file, and a run before its first epoch ended.
        ValueError: for a file that is damaged, and a tokenizer.
    """
    model = _load(path)
    _refuse_encoder(path, model, "a prior")
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
    _refuse_encoder(path, model, "a tokenizer, of `tfprior train vq_vae`")
    if not isinstance(model, Tokenizer):
        raise ValueError(f"{path} is a prior; expected a tokenizer, of `tfprior train vq_vae`.")
    return model


class PretrainedEncoder(NamedTuple):
    """An encoder, and how it sees pixels: None where nobody knows."""

    encoder: Encoder
    scaling: ImageScaling | None


def load_encoder(path: str | os.PathLike[str]) -> PretrainedEncoder:
    """The encoder that a run pre-trained, or of a .keras file: alone, in a Classifier or as it was trained.

    Raises:
        FileNotFoundError: for a missing file, and a run before its first epoch ended.
        ValueError: for a file that is damaged, priors and tokenizers.
    """
    model = _load(path) if Path(path).is_dir() else read_model(path)
    if isinstance(model, Encoder):
        return PretrainedEncoder(model, None)
    encoder = getattr(model, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ValueError(
            f"{path} is a {type(model).__name__}; expected a run of `tfprior pretrain`, or a .keras file of "
            "an encoder or a Classifier."
        )
    return PretrainedEncoder(encoder, model.scaling)


def load_generator(
    run: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    finer: Sequence[str | os.PathLike[str]] = (),
) -> Generator:
    """The prior of a run on codes together with the tokenizer that gave them.

    Args:
        run: a run on codes, or a .keras file of its prior; of several grids, on the coarsest.
        tokenizer: run or .keras file of the tokenizer; where the run remembers it when left out.
        finer: those of the priors of the finer grids, coarse to fine.

    Raises:
        FileNotFoundError: where no tokenizer is named or remembered, or it is no longer there.
        ValueError: for a run on images, another tokenizer than the one that gave the codes, and priors that
            are not one for each grid, coarse to fine.
    """
    paths = [run, *([finer] if isinstance(finer, str | os.PathLike) else finer)]
    priors = [load_prior(path) for path in paths]
    origins = [_origin(path) for path in paths]
    _check_grids(paths, origins)
    return Generator(tokenizer_of(origins[0], run, tokenizer), priors)


def load_image_model(
    path: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
    finer: Sequence[str | os.PathLike[str]] = (),
) -> Prior | Generator:
    """A prior of images, or a prior of codes with its tokenizer and the priors of the finer codes.

    Raises:
        FileNotFoundError: as `load_prior` and `load_generator`, of which it is either.
        ValueError: likewise.
    """
    if tokenizer is not None or finer or (Path(path).is_dir() and load_run(path).of_codes):
        return load_generator(path, tokenizer, finer)
    return load_prior(path)


def tokenizer_of(
    origin: CodesOrigin | None,
    codes: str | os.PathLike[str],
    tokenizer: str | os.PathLike[str] | None = None,
) -> Tokenizer:
    """The tokenizer that codes come from.

    Args:
        origin: what is known of it.
        codes: what the codes, or what was trained on them, are called.
        tokenizer: its run or .keras file; where the origin says when left out.

    Raises:
        FileNotFoundError: where no tokenizer is named or remembered, or it is no longer there.
        ValueError: for another tokenizer than the one that gave the codes.
    """
    place = tokenizer or (origin and origin.tokenizer)
    if place is None:
        raise FileNotFoundError(
            f"{codes} does not tell the tokenizer of its codes; name its run: --tokenizer RUN."
        )
    if tokenizer is None and not Path(place).exists():
        raise FileNotFoundError(
            f"{place}, the tokenizer of {codes}, is no longer there; tell where its run is: --tokenizer RUN."
        )
    model = load_tokenizer(place)
    if origin is not None and model.weights_digest() != origin.digest:
        raise ValueError(
            f"{place} is not the tokenizer of {codes}: its weights are not those that gave the codes; choose "
            "another with --tokenizer RUN, or encode and train anew."
        )
    return model


def _origin(run: str | os.PathLike[str]) -> CodesOrigin | None:
    """Where the codes of a run come from; a file does not tell."""
    folder = load_run(run) if Path(run).is_dir() else None
    if folder is not None and not folder.of_codes:
        raise ValueError(f"{run} is a prior of images and needs no tokenizer; leave it out.")
    return folder.codes_origin if folder is not None else None


def _check_grids(paths: Sequence[str | os.PathLike[str]], origins: Sequence[CodesOrigin | None]) -> None:
    """Raises ValueError unless the runs are those of one tokenizer's grids, all of them, coarse to fine."""
    known = [(path, origin) for path, origin in zip(paths, origins, strict=True) if origin is not None]
    for path, origin in known:
        if origin.digest != known[0][1].digest:
            raise ValueError(
                f"{path} and {known[0][0]} are priors of different tokenizers' codes; expected those of one."
            )
    for index, (path, found) in enumerate(zip(paths, origins, strict=True)):
        if found is not None and found.grid != index:
            raise ValueError(
                f"{path} is the prior of grid {found.grid} of {found.num_grids}, the coarsest being 0, and "
                f"stands in place of that of grid {index}; name the runs coarse to fine: RUN --finer RUN."
            )
    if known and known[0][1].num_grids != len(paths):
        count = known[0][1].num_grids
        raise ValueError(
            f"{paths[0]} is the prior of one of {count} grids of codes, and {len(paths)} are given; "
            + (
                "name those of the finer ones too: --finer RUN."
                if len(paths) < count
                else "leave --finer out."
            )
        )


def _refuse_encoder(path: str | os.PathLike[str], model: GridModel, expected: str) -> None:
    if model.kind in ("encoder", "classifier"):
        name = "an encoder" if model.kind == "encoder" else "a classifier"
        raise ValueError(
            f"{path} is {name}, which `tfprior probe` and `tfprior finetune` take; expected {expected}."
        )


def _load(path: str | os.PathLike[str]) -> GridModel:
    return load_run(path).load() if Path(path).is_dir() else load_model(path)
