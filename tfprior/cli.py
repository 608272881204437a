"""The command line: train, evaluate, encode, reconstruct, sample, complete, export, verify, info.

Everything heavy is imported inside the commands, so that help appears at once.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from tfprior.tables import bundle_table, facts_table, model_table, run_table, score_table

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from tfprior.data import Images
    from tfprior.generator import Generator
    from tfprior.priors import Prior
    from tfprior.training import RunFolder

DATA_HELP = "digits, photos, mnist, fashion_mnist, cifar10, an .npz file (codes too) or a folder of images."
MANIFEST = "manifest.json"


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


class Split(StrEnum):
    test = "test"
    train = "train"
    validation = "validation"


class Method(StrEnum):
    cached = "cached"
    full = "full"


class Format(StrEnum):
    saved_model = "saved_model"
    onnx = "onnx"


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


RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The --out of `tfprior train`.")]
TokenizerRunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="The --out of `tfprior train --model vq_vae`.")
]
TokenizerOption = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Where the run of the tokenizer is now, of a prior of codes."),
]
DataOption = Annotated[str | None, typer.Option("--data", help=f"Other data than the run's: {DATA_HELP}")]
ImageSizeOption = Annotated[int | None, typer.Option(min=1, help="Side of the images of a folder.")]
LevelsOption = Annotated[
    int | None, typer.Option(min=2, help="Number of levels, where the data do not tell.")
]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same result.")]


@app.command()
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
        "embedding_dim": embedding,
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


@app.command()
def evaluate(
    run: RunArgument,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
) -> None:
    """Measure bits per dimension beside three baselines on the same images.

    ```
    tfprior evaluate runs/digits
    tfprior evaluate runs/digits --split validation
    ```

    Of a tokenizer they are a bound, in which all codes are equally probable, and the use of its codes is
    shown too. Of a prior of codes they are bits per code; the bound of prior and tokenizer together follows.
    """
    import_keras()
    from tfprior.data import load
    from tfprior.training import bound_scores, load_run, scores_of, split_of

    folder = load_run(run)
    options = folder.config["options"]
    if tokenizer is not None and not folder.of_codes:
        raise typer.BadParameter(f"--tokenizer: {run} is not of codes; leave it out.")
    generator = generator_of(folder, tokenizer) if folder.of_codes else None
    model = folder.load() if generator is None else generator.priors[0]
    images = images_of(folder, data, image_size, levels)
    scores = scores_of(model, *split_of(images, split.value, options))
    bits = scores["bits_per_dim"]
    name = "this tokenizer, uniform codes" if folder.is_tokenizer else "this prior"
    console = Console()
    console.print(compared({name: bits}, images, split, options))
    if folder.is_tokenizer:
        console.print(facts_table("", {words: f"{scores[name]:.4g}" for name, words in SCORE_NAMES.items()}))
    if generator is not None and images.origin is not None:
        images = load(**images.origin.images)
        bounds = bound_scores(generator, *split_of(images, split.value, options), bits_per_code=bits)
        console.print(compared(bounds, images, split, options))


@app.command()
def encode(
    run: TokenizerRunArgument,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
) -> None:
    """Write the codes of a data set, to train a prior on with `tfprior train --data`.

    ```
    tfprior encode runs/tokenizer --out codes.npz
    tfprior encode runs/tokenizer --data more_images.npz --out more_codes.npz
    ```

    The file has x_train, x_test, num_levels and, if there are labels, y_train and y_test; it remembers the
    tokenizer and a digest of its weights.
    """
    check_npz("--out", out)
    import_keras()
    from tfprior.data import CodesOrigin, encode_images, save_npz
    from tfprior.training import load_run, load_tokenizer

    folder, model = load_run(run), load_tokenizer(run)
    images = images_of(folder, data, image_size, levels)
    own = folder.config["data"]
    source = (
        {name: own.get(name) for name in ("name_or_path", "image_size", "num_levels")}
        if data is None
        else {"name_or_path": whole_path(data), "image_size": image_size, "num_levels": levels}
    )
    origin = CodesOrigin(str(run.resolve()), model.weights_digest(), source)
    codes = encode_images(model, images, origin)
    save_npz(codes, out)
    grid = " × ".join(map(str, codes.grid_shape))
    typer.echo(
        f"{out}: {len(codes.x_train)} training and {len(codes.x_test)} test grids, {grid} of "
        f"{codes.num_levels} codes"
    )


@app.command()
def reconstruct(
    run: TokenizerRunArgument,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("reconstructions.png"),
    num: Annotated[int, typer.Option(min=1, help="How many images, of each class in turn.")] = 32,
    split: Annotated[Split, typer.Option(help="Which images.")] = Split.test,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    columns: Annotated[int, typer.Option(min=1, help="Images in a row.")] = 8,
) -> None:
    """Draw images above what is left of them when they are encoded and decoded.

    ```
    tfprior reconstruct runs/tokenizer --out reconstructions.png
    tfprior reconstruct runs/tokenizer --num 8 --split train
    ```
    """
    import_keras()
    from tfprior.training import load_run, load_tokenizer, save_reconstructions, split_of
    from tfprior.training.completion import spread

    folder, model = load_run(run), load_tokenizer(run)
    images = images_of(folder, data, image_size, levels)
    values, labels = split_of(images, split.value, folder.config["options"])
    some = values[spread(labels, len(values))[:num]]
    save_reconstructions(some, model.reconstruct(some), images.num_levels, out, columns)
    typer.echo(f"{out}: {len(some)} images above their reconstructions")


@app.command()
def sample(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE", help="A run, a .keras file or an exported bundle.")
    ],
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("samples.png"),
    num: Annotated[int | None, typer.Option(min=1, help="How many; 64, or 8 of each class.")] = None,
    classes: Annotated[
        list[int] | None,
        typer.Option("--class", help="Class to draw, also several; all, or without --num the first ten."),
    ] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 draws more probable images.")] = 1.0,
    top_k: Annotated[int | None, typer.Option(help="Only the K most probable levels of a pixel.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Only the levels that hold this probability.")] = None,
    seed: SeedOption = 0,
    method: Annotated[
        Method, typer.Option(help="full is slow, and the definition of cached.")
    ] = Method.cached,
    columns: Annotated[int, typer.Option(min=1, help="Images in a row.")] = 8,
    npz: Annotated[
        Path | None, typer.Option(help="Also save the integers (.npz), as `values`, `codes` and `labels`.")
    ] = None,
    tokenizer: TokenizerOption = None,
) -> None:
    """Draw images into a PNG; a bundle needs neither TensorFlow nor Keras for it.

    ```
    tfprior sample runs/digits --out samples.png
    tfprior sample runs/digits --class 3 --class 7 --num 16 --temperature 0.9
    tfprior sample bundles/digits --npz samples.npz
    ```

    What a prior of codes draws is shown through their tokenizer.
    """
    import numpy as np

    from tfprior.atomic import atomic_path
    from tfprior.training.pictures import save_grid

    if npz is not None:
        check_npz("--npz", npz)
    if tokenizer is not None and (source / MANIFEST).exists():
        raise typer.BadParameter("--tokenizer: a bundle has its tokenizer inside; leave it out.")
    codes = None

    if (source / MANIFEST).exists():
        refused = [
            name
            for name, given in (
                ("--top-k", top_k is not None),
                ("--top-p", top_p is not None),
                ("--method", method != Method.cached),
            )
            if given
        ]
        if refused:
            raise typer.BadParameter(
                f"{', '.join(refused)}: a bundle samples by temperature alone; use the run."
            )
        from tfprior.export import load_manifest
        from tfprior.export.client import OnnxGenerator, OnnxSampler

        manifest = load_manifest(source)
        sampler = OnnxSampler(source) if manifest["images"] is None else OnnxGenerator(source)
        num_levels = sampler.num_levels
        labels = labels_of(num, classes, (manifest["priors"][0]["condition"] or {}).get("num_classes"))
        values = sampler.sample(amount(num, labels), labels, seed=seed, temperature=temperature)
    else:
        import_keras()
        from tfprior.training.drawing import draw, num_levels_of

        model = open_model(source, tokenizer)
        num_levels = num_levels_of(model)
        labels = labels_of(num, classes, model.num_classes)
        values, codes = draw(
            model,
            amount(num, labels),
            labels,
            seed=seed,
            method=method.value,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
    save_grid(values, num_levels, out, columns)
    if npz is not None:
        with atomic_path(npz) as temporary:
            arrays: dict[str, Any] = {"values": values, "codes": codes, "labels": labels}
            present = {name: array for name, array in arrays.items() if array is not None}
            np.savez_compressed(temporary, allow_pickle=False, **present)
    typer.echo(f"{out}: {len(values)} samples")


@app.command()
def complete(
    run: RunArgument,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("completion.png"),
    keep: Annotated[
        str, typer.Option(help="What is given: top, bottom, left, right, or a fraction from the top.")
    ] = "top",
    num: Annotated[int, typer.Option(min=1, help="How many test images.")] = 8,
    completions: Annotated[int, typer.Option(min=1, help="Completions of each.")] = 6,
    data: DataOption = None,
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    temperature: Annotated[float, typer.Option(help="Below 1 draws more probable images.")] = 1.0,
    seed: SeedOption = 0,
    tokenizer: TokenizerOption = None,
) -> None:
    """Complete test images of which a part is given.

    ```
    tfprior complete runs/digits --keep top --out completion.png
    tfprior complete runs/digits --keep 0.25 --num 4 --completions 8
    ```

    A prior of codes draws those of the hidden part, and --data are images.
    """
    import_keras()
    from tfprior.training import load_run
    from tfprior.training.completion import complete_images, hidden_part
    from tfprior.training.pictures import save_completions

    folder = load_run(run)
    model = open_model(run, tokenizer)
    images = images_of(folder, data, image_size, levels, model)
    try:
        mask = hidden_part(keep, images.grid_shape)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    originals, drawn = complete_images(model, images, mask, num, completions, seed, temperature)
    save_completions(originals, mask, drawn, images.num_levels, out)
    typer.echo(f"{out}: {len(originals)} images, {completions} completions each")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a .keras file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the bundle.")],
    formats: Annotated[
        list[Format] | None, typer.Option("--format", help="Also several; both by default.")
    ] = None,
    tokenizer: TokenizerOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that exists.")] = False,
) -> None:
    """Export a prior as a bundle of SavedModel and ONNX graphs, checked against Keras.

    ```
    tfprior export runs/digits bundles/digits
    tfprior export runs/digits bundles/digits --format onnx
    ```

    A prior of codes is exported together with their tokenizer, as a bundle that makes images.
    """
    import_keras()
    from tfprior.export import save

    if out.exists() and not overwrite:
        raise typer.BadParameter(f"{out} exists; choose another OUT, or pass --overwrite to replace it.")
    model = open_model(run, tokenizer)
    save(
        model, out, formats=tuple(one.value for one in dict.fromkeys(formats or Format)), overwrite=overwrite
    )
    Console().print(bundle_table(out))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by `tfprior export`.")],
) -> None:
    """Check a bundle: sizes and hashes of its files, and its golden samples drawn again.

    ```
    tfprior verify bundles/digits
    ```
    """
    if all(importlib.util.find_spec(name) for name in ("keras", "tensorflow")):
        import_keras()  # only so that the SavedModel's replay is quiet; ONNX needs neither
    from tfprior.export import verify as check

    report = check(bundle)
    Console().print(facts_table(f"{bundle}: verified", report))


@app.command()
def info(
    source: Annotated[
        Path, typer.Argument(metavar="RUN|BUNDLE", help="A run, a .keras file or an exported bundle.")
    ],
) -> None:
    """Show what a run or a bundle holds.

    ```
    tfprior info runs/digits
    ```
    """
    console = Console()
    if (source / MANIFEST).exists():
        console.print(bundle_table(source))
        return
    import_keras()
    if source.is_file():
        from tfprior.training.model_file import load_model

        console.print(model_table(source, load_model(source)))
    else:
        from tfprior.training import load_run

        console.print(run_table(load_run(source)))


SCORE_NAMES = {
    "reconstruction_bits_per_dim": "bits/dim of the images given their codes",
    "perplexity": "perplexity of the codes",
    "usage": "share of codes in use",
    "dead_codes": "codes that are never used",
}


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
        **({"embedding_dim": 64} if images.are_codes else {}),
    }


def unit_of(images: "Images") -> str:
    return "bits/code" if images.are_codes else "bits/dim"


def check_npz(option: str, path: Path) -> None:
    if path.suffix != ".npz":
        raise typer.BadParameter(f"{option} {path}: expected a name that ends in .npz.")


def compared(scores: dict[str, float], images: "Images", split: Split, options: dict[str, Any]) -> "Table":
    """A table of the scores beside the baselines of the same images."""
    from tfprior.training import baseline_bits, split_of

    values, _ = split_of(images, split.value, options)
    # The test part stays unseen by all; of the training images the baselines know what the model knows.
    known = images.x_train if split is Split.test else split_of(images, "train", options)[0]
    baselines = baseline_bits(known, values, images.num_levels, images.are_codes)
    title = f"{images.name}, {split.value} split, {len(values)} images"
    return score_table(title, {**scores, **baselines}, unit_of(images))


def whole_path(data: str) -> str:
    """What exists as a path independent of the working folder; a known name as it is."""
    from tfprior.data.loading import NAMED

    path = Path(data).expanduser()
    return str(path.resolve()) if data and data not in NAMED and path.exists() else data


def images_of(
    run: "RunFolder",
    data: str | None,
    image_size: int | None,
    levels: int | None,
    drawn_by: "Prior | Generator | None" = None,
) -> "Images":
    """The run's own data, or other data of the same grid; with a generator, its images instead of codes.

    Raises:
        ValueError: for data that the run does not fit.
    """
    from tfprior.data import load
    from tfprior.generator import Generator

    own = run.config["data"]
    grid, num_levels, are_codes = tuple(own["grid_shape"]), own["levels"], run.of_codes
    if isinstance(drawn_by, Generator):
        tokenizer, origin, are_codes = drawn_by.tokenizer, run.codes_origin, False
        grid, num_levels = tokenizer.image_shape, tokenizer.distribution.num_levels
        if origin is None and data is None:
            raise typer.BadParameter(f"{run.path} does not tell the images of its codes; name them: --data.")
        own = {} if origin is None else origin.images
    images = load(
        data if data is not None else own["name_or_path"],
        image_size=image_size if data is not None else own.get("image_size"),
        num_levels=levels if data is not None else own.get("num_levels"),
    )
    if (images.grid_shape, images.num_levels, images.are_codes) != (grid, num_levels, are_codes):
        remedy = (
            ": encode the images first, with `tfprior encode`" if are_codes and not images.are_codes else ""
        )
        raise ValueError(
            f"{images.name} has grids {images.grid_shape} of {images.num_levels} "
            f"{'codes' if images.are_codes else 'levels'}; expected {grid} of {num_levels}"
            f"{' codes' if are_codes else ''}, as {run.path} was trained on{remedy}."
        )
    if run.codes_origin and images.origin and run.codes_origin.digest != images.origin.digest:
        raise ValueError(
            f"{images.name} holds codes of another tokenizer than {run.path} was trained on; encode the "
            f"images with {run.codes_origin.tokenizer}."
        )
    return images


def open_model(path: Path, tokenizer: Path | None) -> "Prior | Generator":
    """A prior of images, or a prior of codes with its tokenizer."""
    from tfprior.training import load_generator, load_prior, load_run

    if tokenizer is not None or (path.is_dir() and load_run(path).of_codes):
        return load_generator(path, tokenizer)
    return load_prior(path)


def generator_of(run: "RunFolder", tokenizer: Path | None) -> "Generator | None":
    """A prior of codes with its tokenizer; None, and a sentence on why, where the remembered one is gone."""
    from tfprior.training import load_generator

    try:
        return load_generator(run.path, tokenizer)
    except FileNotFoundError as error:
        if tokenizer is not None:
            raise
        typer.echo(f"Bits per code alone: {error}", err=True)
        return None


def labels_of(num: int | None, classes: list[int] | None, num_classes: int | None) -> "np.ndarray | None":
    """A label for each sample: the classes asked for (all by default), as evenly as `num` allows."""
    import numpy as np

    if num_classes is None:
        if classes:
            raise typer.BadParameter(
                "--class: the prior is unconditional; leave it out, or train with --conditional."
            )
        return None
    outside = [label for label in classes or () if not 0 <= label < num_classes]
    if outside:
        raise typer.BadParameter(f"--class {outside[0]}: expected a class in [0, {num_classes - 1}].")
    chosen = np.asarray(classes or range(min(num_classes, 10) if num is None else num_classes), "int32")
    count = 8 * len(chosen) if num is None else num
    return chosen[np.arange(count) * len(chosen) // count]


def amount(num: int | None, labels: "np.ndarray | None") -> int:
    return len(labels) if labels is not None else num or 64
