"""A subcommand of `tfprior train` for every model, with the options that the model declares."""

import inspect
import re
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tfprior.cli.app import Command
from tfprior.cli.errors import WrongUsage
from tfprior.registry import MODELS, Model, Option, declaration_of

DEFAULT_MODEL = "gated_pixel_cnn"
TRAINING_OPTIONS = "tfprior.training.trainer:TrainingOptions"
NETWORK, TRAINING = "Network", "Training"
NAMES = {"codebook_size": "--codes"}
OFF = {"conditional": "--unconditional"}
NONE = "none"

Run = Callable[[Model, dict[str, Any], dict[str, Any], dict[str, Any]], None]


class ModelCommand(Command):
    """Knows the options of the other models too, to say whose they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = getattr(error, "option_name", None)
            if option == "--model":
                raise WrongUsage("--model: the model is a word after train: tfprior train NAME …") from error
            owners = [
                name
                for name, model in MODELS.items()
                if option in (spelled for one in model.options.values() for spelled in spellings(one))
            ]
            if owners and self.name not in owners:
                raise WrongUsage(
                    f"{option} belongs to {', '.join(owners)}; {self.name} has no such option: leave it out."
                ) from error
            raise


class Models(TyperGroup):
    """The commands of all models that are registered; the default one where no name comes first.

    Options stand after the name, so those of the help are the ones that every model takes.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return list(MODELS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        from tfprior.cli.train import RUN, train_model

        model = MODELS.get(cmd_name)
        return model and command_of(model, RUN, train_model)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[MODEL]", "[OPTIONS]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [DEFAULT_MODEL, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in MODELS:
            raise WrongUsage(f"train {args[0]}: no such model; expected one of {', '.join(MODELS)}.")
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        own = self.params
        shared = self.get_command(ctx, DEFAULT_MODEL).params
        self.params = [param for param in shared if param.name not in MODELS[DEFAULT_MODEL].options]
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params = own


def command_of(model: Model, shared: Iterable[inspect.Parameter], run: Run) -> Any:
    """The command that hands `run` the model, its options, those of training, and the `shared` ones."""
    network = [parameter(option, NETWORK, depends_on_data(model, option)) for option in model.options.values()]
    training = [parameter(option, TRAINING) for option in training_options().values()]

    def command(**given: Any) -> None:
        given = {name: None if value == NONE else value for name, value in given.items() if value is not None}
        parts = (model.options, training_options())
        chosen = [{name: plain(given.pop(name)) for name in part if name in given} for part in parts]
        run(model, *chosen, given)

    command.__signature__ = inspect.Signature([*shared, *network, *training])  # type: ignore[attr-defined]
    command.__doc__ = help_of(model)
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(model.name, cls=ModelCommand, short_help=model.title, rich_help_panel="Models")(command)
    return typer.main.get_command(alone)


def plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


def training_options() -> dict[str, Option]:
    """Those of `TrainingOptions`."""
    return declaration_of(TRAINING_OPTIONS).options


def depends_on_data(model: Model, option: Option) -> str | None:
    """What holds where it is not given, in words; None where the default is a value."""
    if option.name == "output" and model.kind == "prior" and model.output != "categorical":
        return f"{model.output}; of codes categorical"
    return {"output": model.output, "value_embedding_dim": "64 for codes"}.get(option.name)


def parameter(option: Option, panel: str, holds: str | None = None) -> inspect.Parameter:
    """The option as typer takes it; `holds` says in words what holds where it is not given."""
    kind: Any = option.kind
    given: dict[str, Any] = {}
    words = in_words(option.help)
    if option.choices:
        kind = StrEnum(option.name, {choice: choice for choice in option.choices})
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
        return NONE if word == NONE else kind(word)

    return read


def in_words(text: str) -> str:
    """What a docstring says of an argument, as help of an option: of other options by their names."""
    text = re.sub(r"`(\w+)`", lambda match: spelled(match[1]) or match[0], text.replace("None", NONE))
    return text[:1].upper() + text[1:]


def spelled(argument: str) -> str | None:
    options = {**training_options(), **{n: o for model in MODELS.values() for n, o in model.options.items()}}
    return spellings(options[argument])[0] if argument in options else None


EXAMPLES = {
    "prior": """
tfprior train {name} --data digits --conditional --ema 0.995 --out runs/digits
tfprior train {name} --data my_images/ --image-size 32 --minutes 15 --flip --out runs/mine
tfprior train {name} --data codes.npz --out runs/prior
""",
    "tokenizer": """
tfprior train {name} --data fashion_mnist --codes 256 --out runs/tokenizer
tfprior encode runs/tokenizer --out codes.npz
tfprior train --data codes.npz --out runs/prior
""",
}


def help_of(model: Model) -> str:
    examples = EXAMPLES[model.kind].format(name=model.name)
    return f"""Train a {model.kind}: {model.title}.

{model.declaration.summary}

```{examples}```

The same command goes on after an interruption. `tfprior train --help` tells what the folder gets.
"""
