"""`tfprior train`."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from tfprior.cli.app import import_keras
from tfprior.cli.opening import unit_of, whole_path
from tfprior.cli.options import DATA_HELP, ImageSizeOption, LevelsOption, SeedOption
from tfprior.cli.tables import score_table

if TYPE_CHECKING:
    from tfprior.data import Images


class Model(StrEnum):
    gated_pixel_cnn = "gated_pixel_cnn"
    pixel_cnn = "pixel_cnn"
    pixelcnn_pp = "pixelcnn_pp"
    vq_vae = "vq_vae"


class Output(StrEnum):
    categorical = "categorical"
    logistic = "logistic"
    logistic_mixture = "logistic_mixture"
    gaussian = "gaussian"


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    data: Annotated[str, typer.Option(help=DATA_HELP)] = "digits",
    model: Annotated[Model, typer.Option(help="The network.")] = Model.gated_pixel_cnn,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data; 20 without --minutes.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Train this long at most; the learning rate falls to zero by then.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 64,
    filters: Annotated[
        int | None, typer.Option(min=1, help="Features of each layer, 64; of vq_vae 128.")
    ] = None,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Number of layers, 8; of pixelcnn_pp in each stage, 2.")
    ] = None,
    stages: Annotated[
        int | None, typer.Option(min=1, help="Resolutions of pixelcnn_pp, each half the one above; 3.")
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(
            help="What is given for a pixel: categorical; of pixelcnn_pp and vq_vae logistic_mixture."
        ),
    ] = None,
    components: Annotated[int | None, typer.Option(min=1, help="Of the logistic mixture; 10.")] = None,
    embedding: Annotated[
        int | None, typer.Option(min=1, help="Numbers that stand for a code, 64; for a level none.")
    ] = None,
    codes: Annotated[int | None, typer.Option(min=2, help="Kinds of code of vq_vae; 512.")] = None,
    code_dim: Annotated[
        int | None, typer.Option(min=1, help="Numbers in a vector of its codebook; 64.")
    ] = None,
    downsampling: Annotated[
        int | None, typer.Option(min=1, help="Pixels for each of its codes, along each side; 4.")
    ] = None,
    residual_blocks: Annotated[
        int | None, typer.Option(min=0, help="On each side of its codebook; 2.")
    ] = None,
    dropout: Annotated[float, typer.Option(min=0.0, max=0.95, help="Rate of dropout.")] = 0.0,
    learning_rate: Annotated[float, typer.Option(help="At its highest, after the warm-up.")] = 1e-3,
    conditional: Annotated[
        bool, typer.Option("--conditional/--unconditional", help="Learn images given their class.")
    ] = False,
    seed: SeedOption = 0,
    ema: Annotated[
        float | None, typer.Option(help="Momentum of averaged weights, for example 0.995; none by default.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the training images.")] = False,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    xla: Annotated[
        bool, typer.Option("--xla/--no-xla", help="Compile the step: twice as fast, after some seconds.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Start anew where a run exists.")] = False,
) -> None:
    """Train a prior or a tokenizer; the same command goes on after an interruption.

    ```
    tfprior train --data digits --conditional --ema 0.995 --out runs/digits
    tfprior train --data photos --model pixelcnn_pp --minutes 15 --flip --out runs/photos
    tfprior train --data my_images/ --image-size 32 --out runs/mine
    tfprior train --model vq_vae --data fashion_mnist --codes 256 --out runs/tokenizer
    tfprior train --data codes.npz --out runs/prior
    ```

    One tenth of the training images is held out for validation (*: the best epoch so far). The folder gets
    config.json, best.keras, last.keras, metrics.csv, curve.png, samples.png and model_card.md; of a tokenizer
    reconstructions.png and codebook_usage.png instead of samples.png.
    """
    import_keras()
    from tfprior.data import load
    from tfprior.training import TrainingOptions
    from tfprior.training import train as run_training

    settings = TrainingOptions(
        epochs=epochs,
        minutes=minutes,
        batch_size=batch_size,
        learning_rate=learning_rate,
        ema=ema,
        flip=flip,
        seed=seed,
        xla=xla,
    )
    source = {"name_or_path": whole_path(data), "image_size": image_size, "num_levels": levels}
    images = load(**source)
    given = {
        "conditional": conditional or None,
        "filters": filters,
        "num_layers": layers,
        "dropout": dropout or None,
        "output": output and output.value,
        "num_components": components,
        "num_stages": stages,
        "value_embedding_dim": embedding,
        "codebook_size": codes,
        "code_dim": code_dim,
        "downsampling": downsampling,
        "num_residual_blocks": residual_blocks,
    }
    chosen = {name: value for name, value in given.items() if value is not None}
    description = {"name": model.value, **defaults_of(model, images), **chosen}
    console = Console()
    run = run_training(images, description, out, settings, source, overwrite, console)
    result = run.result or {}
    noun = "tokenizer" if run.is_tokenizer else "prior"
    scores = {
        f"this {noun} (epoch {result['best_epoch']})": result["best_bits_per_dim"],
        **result["baselines"],
    }
    console.print(score_table("held-out part of the training images", scores, unit_of(images)))
    console.print(f"{out}: {', '.join(run.pictures)}, model_card.md", highlight=False, soft_wrap=True)


def defaults_of(model: Model, images: "Images") -> dict[str, Any]:
    """What describes the model where the command line does not."""
    if model is Model.vq_vae:
        return {
            "codebook_size": 512,
            "code_dim": 64,
            "downsampling": 4,
            "filters": 128,
            "num_residual_blocks": 2,
            # On digits it needs fewer bits than one logistic or a categorical, in as much time, and its mean,
            # which codes decode to, is as close to the images.
            "output": Output.logistic_mixture.value,
        }
    ordered = model is Model.pixelcnn_pp and not images.are_codes
    return {
        "conditional": False,
        "filters": 64,
        "num_layers": 2 if model is Model.pixelcnn_pp else 8,
        "dropout": 0.0,
        "output": (Output.logistic_mixture if ordered else Output.categorical).value,
        **({"value_embedding_dim": 64} if images.are_codes else {}),
    }
