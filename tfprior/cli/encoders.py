"""`tfprior probe` and `tfprior finetune`: what an encoder is worth, by labels."""

import inspect
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.declared_options import parameter
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import LOADED, resolved_path, source_at
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
    overwrite: bool,
    **options: Any,
) -> None:
    """Trains the encoder of the run and a head into a run of their own."""
    if out.suffix == ".keras":
        raise WrongUsage(f"--out {out}: expected a folder, which gets the best model as best.keras.")
    import_keras()
    from tfprior.measuring import scores_of
    from tfprior.probing import FineTuningOptions, fine_tune_run

    settings = FineTuningOptions(**{name: value for name, value in options.items() if value is not None})
    source = labelled_source(run, data, image_size, levels)
    images, console = load_labelled(source), plain_console()
    made = fine_tune_run(run, images, out, settings, pooling.value, source, overwrite, console)
    test = scores_of(made.load(), images.x_test, images.y_test)["accuracy"]
    facts = {
        f"accuracy, held-out images (epoch {(made.result or {})['best_epoch']})": f"{made.best_score:.4f}",
        "accuracy, test images": f"{test:.4f}",
    }
    console.print(facts_table(f"fine-tuning of {run}", {**facts, **facts_of(images)}))
    console.print(f"{out}: {', '.join(made.pictures)}, model_card.md", soft_wrap=True)


def shared(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def finetune(**options: Any) -> None:
    """Train an encoder and a head on labelled images, and measure accuracy on the test images.

    ```
    tfprior finetune runs/encoder --out runs/classifier
    tfprior finetune runs/encoder --data my_labelled_images/ --image-size 224 --flip --out runs/mine
    tfprior export runs/classifier bundles/classifier
    ```

    The same command goes on after an interruption, to the same end. The encoder's run stays as it is; the
    folder is that of `tfprior train`, and its best.keras the model of the epoch that was best on images held
    out of the training part.
    """
    fine_tune_into(**options)


finetune.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [
        shared("run", EncoderArgument),
        shared("out", Annotated[Path, typer.Option(help="Folder of the run.")]),
        shared("data", DataOption, None),
        shared("image_size", ImageSizeOption, None),
        shared("levels", LevelsOption, None),
        shared("pooling", PoolingOption, Pooling.mean),
        shared(
            "overwrite",
            Annotated[bool, typer.Option("--overwrite", help="Start anew where a run exists.")],
            False,
        ),
        *(parameter(option, "Training") for option in declaration_of(FINE_TUNING_OPTIONS).options.values()),
    ]
)


def labelled_images(run: Path, data: str | None, image_size: Any, levels: int | None) -> "Images":
    """The data that are named, else those that the run was trained on."""
    return load_labelled(labelled_source(run, data, image_size, levels))


def labelled_source(run: Path, data: str | None, image_size: Any, levels: int | None) -> dict[str, Any]:
    """Arguments of `load` that give them."""
    if data is not None:
        return {"name_or_path": resolved_path(data), "image_size": image_size, "num_levels": levels}
    own = source_at(run).own_data(through_codes=False)
    if own is None:
        raise WrongUsage(f"{run} does not tell its data; name them: --data.")
    return {name: own[name] for name in LOADED if name in own}


def load_labelled(source: dict[str, Any]) -> "Images":
    from tfprior.data import load

    return load(**source)


def facts_of(images: "Images") -> dict[str, Any]:
    return {
        "data": f"{images.name}, {len(images.x_train)} and {len(images.x_test)} images",
        "classes": images.num_classes,
    }


def report(title: str, probed: "Probed", images: "Images", out: Path | None) -> None:
    """Writes the classifier where that is wanted, and prints the accuracies."""
    from tfprior.runs import save_model

    facts = {
        "accuracy, test images": f"{probed.accuracy:.4f}",
        "accuracy, training images": f"{probed.train_accuracy:.4f}",
        **facts_of(images),
    }
    plain_console().print(facts_table(title, facts))
    if out is not None:
        save_model(probed.classifier, out)
        typer.echo(f"{out}: the classifier")
