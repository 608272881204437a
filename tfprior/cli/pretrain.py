"""`tfprior pretrain`: a subcommand for every model that trains an encoder without labels."""

import inspect
from typing import Any

import typer

from tfprior.cli.errors import WrongUsage
from tfprior.cli.train import RUN, Models
from tfprior.registry import MODELS, Model


class PretrainedModels(Models):
    """Those of `tfprior train` that train encoders; the name may also come as --model NAME."""

    default = "mae"

    @property
    def models(self) -> dict[str, Model]:
        return {name: model for name, model in MODELS.items() if model.kind == "encoder"}

    @property
    def shared_options(self) -> tuple[inspect.Parameter, ...]:
        return tuple(option for option in RUN if option.name != "tokenizer")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--model" in args:
            place = args.index("--model")
            if place + 1 == len(args):
                raise WrongUsage(f"--model: expected one of {', '.join(self.models)}.")
            args = [args[place + 1], *args[:place], *args[place + 2 :]]
        return super().parse_args(ctx, args)


pretrain = typer.Typer(cls=PretrainedModels)


@pretrain.callback()
def models() -> None:
    """Train an encoder by what is hidden of images, without labels; the same command goes on after a stop.

    ```
    tfprior pretrain mae --data digits --patch-size 2 --out runs/encoder
    tfprior pretrain --model simmim --data my_images/ --image-size 192 --smallest-crop 0.67 --out runs/swin
    tfprior probe runs/encoder
    tfprior finetune runs/encoder --out runs/classifier
    ```

    Every model has options of its own: `tfprior pretrain MODEL --help`. Without a name it is mae.

    The folder is that of `tfprior train`, with held-out images, what was visible of them and what the model
    makes of that in reconstructions.png.
    """
