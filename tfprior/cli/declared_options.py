"""Options of the command line from what classes declare of their arguments."""

import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from tfprior.registry import MODELS, Option, declaration_of

TRAINING_OPTIONS = "tfprior.training.trainer:TrainingOptions"
NAMES = {"codebook_size": "--codes"}
OFF = {"conditional": "--unconditional"}
NONE = "none"


def training_options() -> dict[str, Option]:
    """Those of `TrainingOptions`."""
    return declaration_of(TRAINING_OPTIONS).options


def parameter(option: Option, panel: str, holds: str | None = None) -> inspect.Parameter:
    """The option as typer takes it; `holds` says in words what holds where it is not given."""
    kind: Any = option.kind
    make_choice: Any = StrEnum
    given: dict[str, Any] = {}
    words = in_words(option.help)
    if option.choices:
        kind = make_choice("Choice", {choice: choice for choice in option.choices})
        given, words = {"metavar": "<name>"}, f"{words} One of {', '.join(option.choices)}."
    elif option.optional and (holds or option.default is not None):
        kind = Any
        given = {"parser": or_none(option.kind), "metavar": f"<{option.kind.__name__}|{NONE}>"}
    info = typer.Option(
        "/".join(spellings(option)),
        help=words,
        rich_help_panel=panel,
        show_default=holds or True,
        **given,
    )
    kind = kind if option.default is not None or "parser" in given else kind | None
    default = option.default
    return inspect.Parameter(
        option.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, info]
    )


def spellings(option: Option) -> list[str]:
    """--layers of num_layers, --kernel-size of kernel_size; with the one that switches it off, if any."""
    name = NAMES.get(option.name, f"--{option.name.removeprefix('num_').replace('_', '-')}")
    if option.kind is bool and (option.default or option.name in OFF):
        return [name, OFF.get(option.name, name.replace("--", "--no-", 1))]
    return [name]


def or_none(kind: type) -> Callable[[str], Any]:
    """Reads a number, or the word none."""

    def read(word: str) -> Any:
        try:
            return NONE if word == NONE else kind(word)
        except ValueError as error:
            raise typer.BadParameter(f"{word} is neither a number nor {NONE}.") from error

    return read


def in_words(text: str) -> str:
    """What a docstring says of an argument, as help of an option: of other options by their names."""
    text = re.sub(r"`(\w+)`", lambda match: spelled(match[1]) or match[0], text.replace("None", NONE))
    return text[:1].upper() + text[1:]


def spelled(argument: str) -> str | None:
    options = {**training_options(), **{n: o for model in MODELS.values() for n, o in model.options.items()}}
    return spellings(options[argument])[0] if argument in options else None
