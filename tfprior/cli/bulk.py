"""`tfprior bulk`: the work of `encode`, `score`, `sample` and `compress` on more data than one machine holds.

Commands of their own, not options of the others: they write folders of shards where the others write one
file, take the data as they are where the others take a split of a run's, and give no summary of all.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tfprior.cli.app import Command, import_keras
from tfprior.cli.classes import chosen_classes
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import MANIFEST, source_at
from tfprior.cli.options import (
    FinerOption,
    GuidanceOption,
    ImageSizeOption,
    IterationsOption,
    LevelsOption,
    MethodOption,
    OrderName,
    OrderOption,
    RunArgument,
    SeedOption,
    TemperatureOption,
    TokenizerOption,
    TopKOption,
    TopPOption,
)

if TYPE_CHECKING:
    from tfprior.bulk import Job

bulk = typer.Typer(no_args_is_help=True)

ModelArgument = Annotated[
    Path, typer.Argument(metavar="RUN|BUNDLE", help="A run, a .keras file or an exported bundle.")
]
OutOption = Annotated[
    Path, typer.Option(help="The folder to write, of this job alone; workers see it under the same path.")
]
DataOption = Annotated[
    str,
    typer.Option(
        help="An .npy file, an .npz file that is not compressed, a .parquet file of pictures, a folder of "
        "these, of images, of .npy files or of codes in shards, or the name of a data set."
    ),
]
PartOption = Annotated[
    str, typer.Option(metavar="<part>", help="train or test, of data in parts; others are all train.")
]
ShardSizeOption = Annotated[int, typer.Option(min=1, help="Examples in a shard, the unit of work.")]
BatchSizeOption = Annotated[int, typer.Option(min=1, max=65535, help="Images at once.")]
WorkersOption = Annotated[
    int | None, typer.Option(min=1, help="Processes of this machine that work; without them, this one does.")
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(metavar="<address>", help="Of a Dask scheduler whose workers do it: tcp://10.0.0.1:8786."),
]


@bulk.callback()
def commands() -> None:
    """Encode, score, draw or compress more than one machine holds, in shards, here or on a Dask cluster.

    ```
    tfprior bulk encode tokenizer_bundle --data images.npy --out codes --workers 8
    tfprior bulk sample digits_bundle --num 1000000 --out samples --scheduler tcp://10.0.0.1:8786
    ```

    The same command goes on after an interruption: shards that stand are not made again. A finished folder
    has an index.json with the SHA-256 of every shard, and the same command compares them.
    """


@bulk.command(cls=Command)
def encode(
    model: ModelArgument,
    data: DataOption,
    out: OutOption,
    part: PartOption = "train",
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    shard_size: ShardSizeOption = 1024,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Write the codes of images, as `tfprior.data.ShardedCodes` reads them.

    ```
    tfprior bulk encode runs/tokenizer --data images.npy --out codes --workers 8
    ```
    """
    ready(model)
    from tfprior.bulk import encode_job

    options = {"part": part, "image_size": image_size, "num_levels": levels}
    job = encode_job(model, data, shard_size=shard_size, **options)
    carry_out(job, out, workers, scheduler, "grids of codes")


@bulk.command(cls=Command)
def score(
    model: ModelArgument,
    data: DataOption,
    out: OutOption,
    part: PartOption = "train",
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    batch_size: BatchSizeOption = 64,
    shard_size: ShardSizeOption = 1024,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Score how unlike images are to what a prior was trained on: tables (.csv) of `tfprior score`'s columns.

    ```
    tfprior bulk score digits_bundle --data images.npy --out scores --workers 8
    ```
    """
    ready(model)
    from tfprior.bulk import score_job

    options = {"part": part, "image_size": image_size, "num_levels": levels}
    sizes = {"shard_size": shard_size, "batch_size": batch_size}
    job = score_job(model, data, **parts_of(tokenizer, finer), **sizes, **options)
    carry_out(job, out, workers, scheduler, "images")


@bulk.command(cls=Command)
def sample(
    model: ModelArgument,
    out: OutOption,
    num: Annotated[int, typer.Option(min=1, help="How many, of each class as many.")],
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class to draw, by name or number, also several; all by default."),
    ] = None,
    temperature: TemperatureOption = 1.0,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    seed: SeedOption = 0,
    method: MethodOption = None,
    iterations: IterationsOption = None,
    guidance: GuidanceOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    batch_size: BatchSizeOption = 256,
    shard_size: ShardSizeOption = 1024,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Draw images into .npz files: `values`, of codes `codes` too, of a conditional prior `labels`.

    ```
    tfprior bulk sample digits_bundle --num 1000000 --out samples --workers 8
    ```

    The noise of an image follows from --seed and its number, whoever draws it, and in whatever batches.
    """
    ready(model)
    from tfprior.bulk import sample_job
    from tfprior.bulk.models import open_model

    parts = parts_of(tokenizer, finer)
    chosen = None
    if classes:
        sampler = open_model(str(model), **parts)[1]
        names = sampler.class_names if (model / MANIFEST).exists() else source_at(model).class_names()
        chosen = chosen_classes(classes, sampler.num_classes, names)
    job = sample_job(
        model,
        num,
        classes=chosen,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        method=method and method.value,
        iterations=iterations,
        guidance=guidance,
        **parts,
        shard_size=shard_size,
        batch_size=batch_size,
    )
    carry_out(job, out, workers, scheduler, "samples")


@bulk.command(cls=Command)
def compress(
    run: RunArgument,
    data: DataOption,
    out: OutOption,
    part: PartOption = "train",
    image_size: ImageSizeOption = None,
    levels: LevelsOption = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    batch_size: BatchSizeOption = 128,
    order: OrderOption = OrderName.raster,
    shard_size: ShardSizeOption = 1024,
    workers: WorkersOption = None,
    scheduler: SchedulerOption = None,
) -> None:
    """Compress images without loss, into files that `tfprior decompress` opens.

    ```
    tfprior bulk compress runs/digits --data images.npy --out compressed --workers 8
    ```
    """
    ready(run)
    from tfprior.bulk import compress_job

    options = {"part": part, "image_size": image_size, "num_levels": levels}
    sizes = {"shard_size": shard_size, "batch_size": batch_size}
    parts = parts_of(tokenizer, finer)
    job = compress_job(run, data, order=order.value, **parts, **sizes, **options)
    carry_out(job, out, workers, scheduler, "images")


def ready(model: Path) -> None:
    """Imports Keras, in silence, where the model needs it."""
    if not (model / MANIFEST).exists():
        import_keras()


def parts_of(tokenizer: Path | None, finer: list[Path] | None) -> dict[str, Any]:
    """The other runs of a model, as jobs name them."""
    return {"tokenizer": tokenizer and str(tokenizer), "finer": tuple(map(str, finer or ()))}


def carry_out(job: "Job", out: Path, workers: int | None, scheduler: str | None, what: str) -> None:
    """Runs the job and says what there is."""
    if workers is not None and scheduler is not None:
        raise WrongUsage("--workers: a scheduler has workers of its own; leave it or --scheduler out.")
    from tfprior.bulk import connected, run

    with connected(scheduler, workers) as client:
        index = run(job, out, client)
    size = sum(shard.bytes for shard in index.shards)
    typer.echo(f"{out}: {job.count:,} {what} in {len(index.shards):,} shards, {size:,} bytes")
