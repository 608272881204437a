"""The API reference, from the docstrings of every public name: python docs/api.py FOLDER."""

import importlib
import sys
import warnings
from pathlib import Path

import pdoc

PAGES = (
    "tfprior.bulk",
    "tfprior.compression",
    "tfprior.data",
    "tfprior.distributions",
    "tfprior.encoders",
    "tfprior.export",
    "tfprior.export.client",
    "tfprior.generator",
    "tfprior.image_model",
    "tfprior.layers",
    "tfprior.measuring",
    "tfprior.pictures",
    "tfprior.pretraining",
    "tfprior.priors",
    "tfprior.probing",
    "tfprior.quantizers",
    "tfprior.registry",
    "tfprior.runs",
    "tfprior.sampling",
    "tfprior.serving",
    "tfprior.tokenizers",
    "tfprior.training",
)


def main(folder: Path) -> None:
    """Writes a page for each public module; a warning of the generator stops it."""
    for page in PAGES:
        module = importlib.import_module(page)
        for name in getattr(module, "__all__", ()):  # loaded on first use, and looked up here in the module
            setattr(module, name, getattr(module, name))
    pdoc.render.configure(docformat="google", include_undocumented=False)
    their_files = [rf"!{page}\.(?!client$)" for page in PAGES]
    pages = [page for page in PAGES if page != "tfprior.export.client"]  # which comes with its package
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        pdoc.pdoc(*pages, *their_files, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
