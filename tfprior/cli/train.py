"""`tfprior train`: a subcommand for every model, and what is the same for all of them."""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.errors import WrongUsage
from tfprior.cli.model_commands import command_of
from tfprior.cli.opening import resolved_path
from tfprior.cli.options import DATA_HELP, CacheOption, ImageSizeOption, LevelsOption, TokenizerOption
from tfprior.cli.tables import score_table
from tfprior.registry import MODELS, Model

DEFAULT_MODEL = "gated_pixel_cnn"


class Models(TyperGroup):
    """The commands of all models that are registered; the default one where no name comes first.

    Options stand after the name, so those of the help are the ones that every model takes.
    """

    default = DEFAULT_MODEL

    @property
    def models(self) -> dict[str, Model]:
        return {name: model for name, model in MODELS.items() if model.kind != "encoder"}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.models)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        model = self.models.get(cmd_name)
        return model and command_of(model, self.shared_options, train_model)

    @property
    def shared_options(self) -> tuple[inspect.Parameter, ...]:
        return RUN

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return ["[MODEL]", "[OPTIONS]"]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (not args[0].startswith("-") or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else [self.default, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.models:
            raise WrongUsage(
                f"{self.name} {args[0]}: no such model; expected one of {', '.join(self.models)}."
            )
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        own = self.params
        shared = self.get_command(ctx, self.default).params
        self.params = [param for param in shared if param.name not in self.models[self.default].options]
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params = own


train = typer.Typer(cls=Models)


@train.callback()
def models() -> None:
    """Train a prior or a tokenizer; the same command goes on after an interruption, to the same end.

    ```
    tfprior train --data digits --conditional --ema 0.995 --out runs/digits
    tfprior train pixelcnn_pp --data photos --minutes 15 --flip --out runs/photos
    tfprior train vq_vae --data fashion_mnist --codes 256 --out runs/tokenizer
    ```

    Every model has options of its own: `tfprior train MODEL --help`. Without a name it is gated_pixel_cnn.

    One tenth of the training images is held out for validation (*: the best epoch so far). The folder gets
    config.json, best.keras, last.keras, metrics.csv, curve.png, samples.png and model_card.md; of a tokenizer
    reconstructions.png and codebook_usage.png instead of samples.png. In resume/ is what a run goes on from:
    killed at any moment, and started again, it has the weights and metrics of one that was not, bit for bit.
    """


class Strategy(StrEnum):
    mirrored = "mirrored"
    multi_worker = "multi_worker"


def shared(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


RUN = (
    shared("out", Annotated[Path, typer.Option(help="Folder of the run.")]),
    shared("data", Annotated[str, typer.Option(help=DATA_HELP)], "digits"),
    shared("image_size", ImageSizeOption, None),
    shared("levels", LevelsOption, None),
    shared("cache", CacheOption, None),
    shared(
        "initial",
        Annotated[
            Path | None,
            typer.Option(
                "--from",
                metavar="RUN",
                help="Start from the weights of this run or .keras file, of the same architecture.",
            ),
        ],
        None,
    ),
    shared("tokenizer", TokenizerOption, None),
    shared(
        "strategy",
        Annotated[
            Strategy | None,
            typer.Option(
                help="Train on all GPUs of this machine, or on all machines that TF_CONFIG names; they share "
                "every batch, and the numbers are those of one device."
            ),
        ],
        None,
    ),
    shared(
        "overwrite",
        Annotated[bool, typer.Option("--overwrite", help="Start anew where a run exists.")],
        False,
    ),
)


def train_model(
    model: Model, chosen: dict[str, Any], training: dict[str, Any], run_options: dict[str, Any]
) -> None:
    """Trains the model with its chosen options; `run_options` are the options of `RUN`."""
    import_keras()
    from tfprior.data import load
    from tfprior.registry import described
    from tfprior.training import TrainingOptions, strategy_named
    from tfprior.training import train as run_training

    # Before anything else is asked of TensorFlow.
    strategy = run_options.get("strategy") and strategy_named(run_options["strategy"].value)
    options = TrainingOptions(**training)
    source = {
        "name_or_path": resolved_path(run_options["data"]),
        "image_size": run_options.get("image_size"),
        "num_levels": run_options.get("levels"),
        **({"cache": str(cache.expanduser().resolve())} if (cache := run_options.get("cache")) else {}),
    }
    images = load(**source)
    description = described(images, {"name": model.name, **chosen})
    console = plain_console()
    run = run_training(
        images,
        description,
        run_options["out"],
        options,
        source,
        run_options["overwrite"],
        console,
        initial=run_options.get("initial"),
        tokenizer=run_options.get("tokenizer"),
        strategy=strategy,
    )
    if run.result is None:  # which the chief has
        return
    result = run.result
    words = ", an upper bound" if run.score.is_bound else ""
    values = {
        f"this {model.kind}{words} (epoch {result['best_epoch']})": run.best_score,
        **result["baselines"],
    }
    console.print(score_table("held-out part of the training images", values, run.score))
    console.print(f"{run.path}: {', '.join(run.pictures)}, model_card.md", soft_wrap=True)
