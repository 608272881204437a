"""The application: what every command shares from its start to its last word on an error."""

import contextlib
import os
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup


class Commands(TyperGroup):
    """Turns every error into one sentence on stderr: exit code 2 for wrong usage, 1 for what failed."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            again = "; the same `tfprior train` command goes on after the last whole epoch"
            fail(f"Stopped{again if ctx.invoked_subcommand == 'train' else ''}.", 1)
        except Exception as error:
            usage = getattr(error, "format_message", None)  # of typer's own errors, in all its versions
            if usage is not None:
                fail(usage(), 2)
            if ctx.params.get("debug"):
                raise
            fail(sentence(error), 1)


def fail(message: str, code: int) -> None:
    """Prints the message to stderr and ends with the code."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(code)


def sentence(error: Exception) -> str:
    """An error in one line: its message where tfprior or the system wrote it, its kind too where not."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS:
        package = (error.name or "").split(".")[0]
        return f"{package} is not installed; get it with: pip install '{EXTRAS[package]}'"
    words = " ".join(str(error).split())
    if (
        isinstance(error, FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError)
        and error.filename
    ):
        return f"{error.filename}: {error.strerror}."
    if isinstance(error, ValueError | OSError | ArithmeticError | ImportError) and words:
        return words
    return f"{type(error).__name__}: {words[:300]} (run again with --debug for the whole story)"


EXTRAS = {
    "onnxruntime": "onnxruntime",
    "PIL": "pillow",
    "tensorflow": "tfprior",
    "keras": "tfprior",
    "tf2onnx": "tfprior",
    "onnx": "tfprior",
    "sklearn": "tfprior",
    "tf_keras": "tfprior",
    "tensorboard": "tfprior[tensorboard]",
    "constriction": "tfprior[compress]",
}

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The `tfprior` command."""
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
def whole(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Discrete generative priors of images and codes: train, measure in bits per dimension, sample, export.

    The whole path, on data that comes with the package:

    ```
    tfprior train --data digits --conditional --out runs/digits
    tfprior evaluate runs/digits
    tfprior sample runs/digits --class 3 --out threes.png
    tfprior export runs/digits bundles/digits
    ```

    Codes of a tokenizer first, for larger images:

    ```
    tfprior train --model vq_vae --data fashion_mnist --out runs/tokenizer
    tfprior encode runs/tokenizer --out codes.npz
    tfprior train --data codes.npz --out runs/prior
    tfprior sample runs/prior --out samples.png
    ```
    """
