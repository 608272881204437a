"""A subcommand of `tfprior train` for every model, with the options that the model declares."""

import inspect
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Any

import typer

from tfprior.cli.app import Command
from tfprior.cli.declared_options import NONE, parameter, spellings, training_options
from tfprior.cli.errors import WrongUsage
from tfprior.registry import MODELS, Model, Option

NETWORK, TRAINING = "Network", "Training"

Run = Callable[[Model, dict[str, Any], dict[str, Any], dict[str, Any]], None]
"""Of a model, its options, those of training, and the shared ones."""


class ModelCommand(Command):
    """Knows the options of the other models of its command too, to say whose they are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            option = str(getattr(error, "option_name", ""))
            if option == "--model":
                raise WrongUsage("--model: the model is a word after train: tfprior train NAME …") from error
            trains_encoders = MODELS[str(self.name)].kind == "encoder"
            owners = [
                name
                for name, model in MODELS.items()
                if (model.kind == "encoder") == trains_encoders
                and option in (spelled for one in model.options.values() for spelled in spellings(one))
            ]
            if owners and self.name not in owners:
                raise WrongUsage(
                    f"{option} belongs to {', '.join(owners)}; {self.name} has no such option: leave it out."
                ) from error
            raise


def command_of(model: Model, shared: Iterable[inspect.Parameter], run: Run) -> Any:
    """The command that hands `run` the model, its options, those of training, and the `shared` ones."""
    network = [
        parameter(option, NETWORK, depends_on_data(model, option)) for option in model.options.values()
    ]
    training = [parameter(option, TRAINING) for option in training_options().values()]

    def command(**options: Any) -> None:
        options = {
            name: None if value == NONE else value for name, value in options.items() if value is not None
        }
        parts = (model.options, training_options())
        chosen, how = ({name: plain(options.pop(name)) for name in part if name in options} for part in parts)
        run(model, chosen, how, options)

    command.__signature__ = inspect.Signature([*shared, *network, *training])  # type: ignore[attr-defined]
    command.__doc__ = help_of(model)
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(model.name, cls=ModelCommand, short_help=model.title, rich_help_panel="Models")(command)
    return typer.main.get_command(alone)


def depends_on_data(model: Model, option: Option) -> str | None:
    """What holds where it is not given, in words; None where the default is a value."""
    if option.name == "output" and model.kind == "prior" and model.output != "categorical":
        return f"{model.output}; of codes categorical"
    return {"output": model.output, "value_embedding_dim": "64 for codes"}.get(option.name)


def plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


EXAMPLES = {
    "encoder": """
tfprior pretrain {name} --data my_images/ --image-size 224 --smallest-crop 0.2 --flip --out runs/encoder
tfprior probe runs/encoder --data my_labelled_images/ --image-size 224
tfprior finetune runs/encoder --data my_labelled_images/ --image-size 224 --out runs/classifier
""",
    "prior": """
tfprior train {name} --data digits --conditional --ema 0.995 --out runs/digits
tfprior train {name} --data my_images/ --image-size 32 --minutes 15 --out runs/mine
tfprior train {name} --data codes.npz --out runs/prior
""",
    "tokenizer": """
tfprior train {name} --data fashion_mnist --codes 256 --out runs/tokenizer
tfprior encode runs/tokenizer --out codes.npz
tfprior train --data codes.npz --out runs/prior
""",
}

EXAMPLES_OF_GRIDS = """
tfprior train {name} --data fashion_mnist --codes 256 --out runs/tokenizer
tfprior encode runs/tokenizer --out codes.npz
tfprior train --data codes_0.npz --out runs/top
tfprior train --data codes_1.npz --out runs/bottom
tfprior sample runs/top --finer runs/bottom
"""


def help_of(model: Model) -> str:
    several = len(model.declaration.quantizers) > 1
    examples = (EXAMPLES_OF_GRIDS if several else EXAMPLES[model.kind]).format(name=model.name)
    kind = "an encoder" if model.kind == "encoder" else f"a {model.kind}"
    return f"""Train {kind}: {model.title}.

{model.declaration.summary}

```{examples}```

The same command goes on after an interruption. `tfprior train --help` tells what the folder gets.
"""
