"""`tfprior probe` and `tfprior finetune`: what an encoder is worth, by labels."""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.declared_options import parameter
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import LOADED, source_at
from tfprior.cli.options import DataOption, ImageSizeOption, LevelsOption, check_suffix
from tfprior.cli.tables import facts_table
from tfprior.registry import declaration_of

if TYPE_CHECKING:
    from tfprior.data import Images
    from tfprior.probing import Probed

FINE_TUNING_OPTIONS = "tfprior.probing.options:FineTuningOptions"


class Pooling(StrEnum):
    mean = "mean"
    class_token = "class_token"


EncoderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The --out of `tfprior pretrain`, or a .keras file of an encoder or a Classifier."
    ),
]
PoolingOption = Annotated[
    Pooling, typer.Option(help="Which features the classes are read off: their mean, or the class token.")
]


def probe(
    run: EncoderArgument,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    pooling: PoolingOption = Pooling.mean,
    penalty: Annotated[float, typer.Option(help="Of the weights of the regression.")] = 1.0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images whose features are computed at once.")] = 256,
    out: Annotated[Path | None, typer.Option(help="A .keras file to write the classifier to.")] = None,
) -> None:
    """Measure how well classes are read off the features of an encoder, which stays as it is.

    ```
    tfprior probe runs/encoder
    tfprior probe runs/encoder --data my_labelled_images/ --image-size 224 --out classifier.keras
    ```

    Logistic regression on features of the training images, and its accuracy on the test images.
    """
    if out is not None:
        check_suffix("--out", out, ".keras")
    import_keras()
    from tfprior.probing import linear_probe
    from tfprior.runs import load_encoder

    encoder, scaling = load_encoder(run)
    images = labelled_images(run, data, image_size, levels)
    probed = linear_probe(encoder, images, scaling, pooling.value, penalty, batch_size=batch_size)
    report(f"linear probe of {run}", probed, images, out)


def fine_tune_into(
    out: Path,
    run: Path,
    data: str | None,
    image_size: Any,
    levels: int | None,
    pooling: Pooling,
    **options: Any,
) -> None:
    """Writes the classifier that the encoder of the run becomes."""
    check_suffix("--out", out, ".keras")
    import_keras()
    import keras

    from tfprior.probing import FineTuningOptions, fine_tune
    from tfprior.runs import load_encoder

    settings = FineTuningOptions(**{name: value for name, value in options.items() if value is not None})
    encoder, scaling = load_encoder(run)
    images = labelled_images(run, data, image_size, levels)
    console = plain_console()

    def say(epoch: int, logs: dict[str, float]) -> None:
        console.print(
            f"epoch {epoch + 1}/{settings.epochs} · loss {logs['loss']:.4f} · accuracy {logs['accuracy']:.4f}"
        )

    lines = keras.callbacks.LambdaCallback(on_epoch_end=say)
    probed = fine_tune(encoder, images, settings, scaling, pooling.value, [lines])
    report(f"fine-tuning of {run}", probed, images, out)


def shared(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def finetune(**options: Any) -> None:
    """Train an encoder and a head on labelled images, and measure accuracy on the test images.

    ```
    tfprior finetune runs/encoder --out digits.keras
    tfprior finetune runs/encoder --data my_labelled_images/ --image-size 224 --flip --out mine.keras
    ```

    The run stays as it is; the file gets the classifier, which `tfprior export` takes.
    """
    fine_tune_into(**options)


finetune.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        shared("run", EncoderArgument),
        shared("out", Annotated[Path, typer.Option(help="The .keras file to write the classifier to.")]),
        shared("data", DataOption, None),
        shared("image_size", ImageSizeOption, None),
        shared("levels", LevelsOption, None),
        shared("pooling", PoolingOption, Pooling.mean),
        *(parameter(option, "Training") for option in declaration_of(FINE_TUNING_OPTIONS).options.values()),
    ]
)


def labelled_images(run: Path, data: str | None, image_size: Any, levels: int | None) -> "Images":
    """The data that are named, else those that the run was trained on."""
    from tfprior.data import load

    arguments: dict[str, Any] | None = {"name_or_path": data, "image_size": image_size, "num_levels": levels}
    if data is None:
        arguments = source_at(run).own_data(through_codes=False)
    if arguments is None:
        raise WrongUsage(f"{run} does not tell its data; name them: --data.")
    return load(**{name: arguments.get(name) for name in LOADED})


def report(title: str, probed: "Probed", images: "Images", out: Path | None) -> None:
    """Writes the classifier where that is wanted, and prints the accuracies."""
    from tfprior.runs import save_model

    facts = {
        "accuracy, test images": f"{probed.accuracy:.4f}",
        "accuracy, training images": f"{probed.train_accuracy:.4f}",
        "data": f"{images.name}, {len(images.x_train)} and {len(images.x_test)} images",
        "classes": images.num_classes,
    }
    plain_console().print(facts_table(title, facts))
    if out is not None:
        save_model(probed.classifier, out)
        typer.echo(f"{out}: the classifier")
