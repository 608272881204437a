"""Models in .keras files."""

import os
import zipfile
from pathlib import Path

import keras

from tfprior.atomic import atomic_path
from tfprior.grid_model import GridModel


def load_model(path: str | os.PathLike[str]) -> GridModel:
    """Loads a prior, a tokenizer or what pre-trains an encoder from a .keras file, as `read_model` does.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a file that is no .keras file, is damaged, or holds something else.
    """
    model = read_model(path)
    if not isinstance(model, GridModel):
        raise ValueError(
            f"{path} holds a {type(model).__name__}; expected a prior of tfprior.priors or a tokenizer of "
            "tfprior.tokenizers."
        )
    return model


def read_model(path: str | os.PathLike[str]) -> keras.Model:
    """Loads any model of tfprior from a .keras file, in safe mode: no code in the file is run.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a file that is no .keras file, or is damaged.
    """
    # Registers the classes a file may name.
    from tfprior import distributions, encoders, layers, priors, tokenizers

    packages = (distributions, encoders, layers, priors, tokenizers)
    public = [getattr(package, name) for package in packages for name in package.__all__]
    known = [each for each in public if isinstance(each, type)]
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; expected a run, or a model saved as .keras.")
    if path.suffix != ".keras":  # Keras reads other formats too, which safe mode was not made for
        raise ValueError(f"{path} does not end in .keras; expected a model saved as .keras.")
    try:
        check_archive(path)
        model = keras.saving.load_model(path, custom_objects={c.__name__: c for c in known}, safe_mode=True)
    except Exception as error:  # a damaged file fails in as many ways as Keras has readers
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ValueError(
            f"{path} is no readable .keras file ({type(error).__name__}: {reason[:200]}); copy it again, or "
            "train again."
        ) from error
    return model


def check_archive(path: Path) -> None:
    """Raises an error where a file in the archive is not what was put in.

    HDF5 moves about in the weights while it reads, and from Python 3.12 on no sum is compared after that.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} in it is damaged")


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes the model as .keras at once."""
    with atomic_path(path) as temporary:
        model.save(temporary)
