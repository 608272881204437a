"""Options of the command line from what classes declare of their arguments."""

import inspect
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from tfprior.registry import MODELS, Option, declaration_of

TRAINING_OPTIONS = "tfprior.training.options:TrainingOptions"
NAMES = {"codebook_size": "--codes"}
OFF = {"conditional": "--unconditional"}
NONE = "none"


def training_options() -> dict[str, Option]:
    """Those of `TrainingOptions`."""
    return declaration_of(TRAINING_OPTIONS).options


def parameter(option: Option, panel: str, holds: str | None = None) -> inspect.Parameter:
    """The option as typer takes it; `holds` says in words what holds where it is not given."""
    kind, keywords, words = read_as(option, or_none=option.default is not None or holds is not None)
    names = "/".join(spellings(option))
    info = typer.Option(names, help=words, rich_help_panel=panel, show_default=holds or True, **keywords)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=option.default,
        annotation=Annotated[kind if option.default is not None else kind | None, info],
    )


def read_as(option: Option, or_none: bool) -> tuple[Any, dict[str, Any], str]:
    """Its type, what else typer is to know of it, and its help; `or_none` where the word none is a value."""
    words = in_words(option.help)
    if option.choices:
        make_choice: Any = StrEnum
        kind = make_choice("Choice", {choice: choice for choice in option.choices})
        return kind, {"metavar": "<name>"}, f"{words} One of {', '.join(option.choices)}."
    if option.optional and or_none:
        name = option.kind.__name__
        return Any, {"parser": number_or_none(option.kind), "metavar": f"<{name}|{NONE}>"}, words
    return option.kind, {}, words


def spellings(option: Option) -> list[str]:
    """--layers of num_layers, --kernel-size of kernel_size; with the one that switches it off, if any."""
    name = NAMES.get(option.name, f"--{option.name.removeprefix('num_').replace('_', '-')}")
    if option.kind is bool and (option.default or option.name in OFF):
        return [name, OFF.get(option.name, name.replace("--", "--no-", 1))]
    return [name]


def number_or_none(kind: type) -> Callable[[str], Any]:
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
