"""The application: what every command shares from its start to its last word on an error."""

import contextlib
import gc
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup

from tfprior.cli.errors import WrongUsage, in_options, sentence

ORDER = (
    *(
        "train",
        "pretrain",
        "probe",
        "finetune",
        "evaluate",
        "score",
        "sample",
        "complete",
        "compress",
        "decompress",
    ),
    *("encode", "reconstruct", "bulk", "export", "verify", "serve", "info"),
)


GOES_ON = {
    "train": "; the same `tfprior train` command goes on from its last state",
    "pretrain": "; the same `tfprior pretrain` command goes on from its last state",
    "bulk": "; the same `tfprior bulk` command goes on after the shards that stand",
}


class Commands(TyperGroup):
    """Turns every error into one sentence on stderr: exit code 2 for wrong usage, 1 for what failed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            fail(f"Stopped{GOES_ON.get(ctx.invoked_subcommand, '')}.", 1)
        except Exception as error:
            debug = ctx.params.get("debug")
            if debug and isinstance(error, InOptions) and error.__cause__ is not None:
                raise error.__cause__ from None
            usage = getattr(error, "format_message", None)  # of typer's own errors, in all its versions
            if usage is not None:
                fail(usage(), 2)
            if debug:
                raise
            fail(sentence(error), 1)


class Command(TyperCommand):
    """Says what the library says of its arguments of the options of the command."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ValueError as error:
            said = in_options(sentence(error), self.params)
            raise (WrongOption if said.startswith("--") else InOptions)(said) from error


class InOptions(ValueError):
    """An error of the library in the words of the command line."""


class WrongOption(InOptions, WrongUsage):
    """The same, about an option that was given."""


def fail(message: str, code: int) -> None:
    """Prints the message to stderr and ends with the code."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


def plain_console() -> Console:
    """A console to which the brackets and colons of a path are letters like others."""
    return Console(markup=False, emoji=False, highlight=False)


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The `tfprior` command."""
    # Of the half a million objects that imports make none is garbage; looking for it takes seconds.
    gc.set_threshold(200_000, 20, 50)
    app(prog_name="tfprior")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides what TensorFlow's C++ side says of the machine while it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def import_keras() -> None:
    """Imports Keras and its backend before anything else does."""
    with quiet():
        import keras  # noqa: F401


def show_version(wanted: bool) -> None:
    if wanted:
        from tfprior import __version__

        typer.echo(f"tfprior {__version__}")
        raise typer.Exit()


@app.callback()
def program(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Discrete generative priors of images and codes, and encoders: train, measure, sample, probe, export.

    The whole path, on data that comes with the package:

    ```
    tfprior train --data digits --conditional --out runs/digits
    tfprior evaluate runs/digits
    tfprior sample runs/digits --class 3 --out threes.png
    tfprior export runs/digits bundles/digits
    ```

    Codes of a tokenizer first, for larger images:

    ```
    tfprior train vq_vae --data fashion_mnist --out runs/tokenizer
    tfprior encode runs/tokenizer --out codes.npz
    tfprior train --data codes.npz --out runs/prior
    tfprior sample runs/prior --out samples.png
    ```

    An encoder that learns without labels, and what its features are worth:

    ```
    tfprior pretrain mae --data digits --patch-size 2 --out runs/encoder
    tfprior probe runs/encoder
    ```
    """
