"""`tfprior export`, `verify` and `info`."""

import importlib.util
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from tfprior.cli.app import import_keras, plain_console
from tfprior.cli.errors import WrongUsage
from tfprior.cli.opening import MANIFEST, open_model, source_at
from tfprior.cli.options import FinerOption, TokenizerOption
from tfprior.cli.tables import bundle_table, facts_table, model_table, run_table, runtimes_table


class Weights(StrEnum):
    float32 = "float32"
    float16 = "float16"
    int8 = "int8"


class Format(StrEnum):
    saved_model = "saved_model"
    onnx = "onnx"
    litert = "litert"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a .keras file.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the bundle.")],
    formats: Annotated[
        list[Format] | None, typer.Option("--format", help="Also several; saved_model and onnx by default.")
    ] = None,
    tokenizer: TokenizerOption = None,
    finer: FinerOption = None,
    weights: Annotated[
        Weights, typer.Option(help="Round them: ONNX files are a half or a quarter as large.")
    ] = Weights.float32,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle that exists.")] = False,
) -> None:
    """Export a prior or an encoder as a bundle of SavedModel and ONNX graphs, checked against Keras.

    ```
    tfprior export runs/digits bundles/digits
    tfprior export runs/digits bundles/digits --format onnx --weights float16
    ```

    A prior of codes is exported together with their tokenizer, as a bundle that makes images. Of a run of
    `tfprior pretrain` or `finetune`, and of a .keras file of `tfprior probe`, the functions are `features` of
    images, and `classify` where there are classes.
    """
    import_keras()
    from tfprior.export import save

    if out.exists() and not overwrite:
        raise WrongUsage(f"{out} exists; choose another OUT, or pass --overwrite to replace it.")
    model: Any = encoder_at(run) or open_model(run, tokenizer, finer)
    classes = getattr(model, "num_classes", None)
    names = source_at(run).class_names() if classes else ()
    save(
        model,
        out,
        formats=tuple(one.value for one in dict.fromkeys(formats or Format)),
        overwrite=overwrite,
        class_names=names if len(names) == classes else None,  # the data of codes may have others by now
        weights=weights.value,
    )
    plain_console().print(bundle_table(out))


def encoder_at(run: Path) -> Any:
    """An encoder, or the model around one, in a run or a .keras file; None of all else."""
    from tfprior.encoders import Encoder
    from tfprior.runs import load_run
    from tfprior.runs.model_file import read_model

    if run.is_dir():
        folder = load_run(run)
        model = folder.load() if folder.config["kind"] in ("encoder", "classifier") else None
        return getattr(model, "classifier", model)
    model = read_model(run)
    model = getattr(model, "classifier", model)
    return model if isinstance(getattr(model, "encoder", model), Encoder) else None


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder made by `tfprior export`.")],
    onnx_only: Annotated[
        bool, typer.Option("--onnx-only", help="Replay the ONNX graphs alone, and run no SavedModel.")
    ] = False,
    runtimes: Annotated[
        str | None,
        typer.Option(
            metavar="all|NAME,…",
            help="Replay in these runtimes: onnx, saved_model, litert, openvino; with all also time steps.",
        ),
    ] = None,
) -> None:
    """Check a bundle: sizes and hashes of its files, and its golden samples drawn again.

    ```
    tfprior verify bundles/digits
    tfprior verify bundles/digits --runtimes all
    tfprior verify downloaded --onnx-only
    ```

    A SavedModel is a program, and verifying it runs it: pass --onnx-only for a bundle that you don't trust.
    """
    if not onnx_only and all(importlib.util.find_spec(name) for name in ("keras", "tensorflow")):
        import_keras()  # only so that the SavedModel's replay is quiet; ONNX needs neither
    from tfprior.export import verify as check

    if runtimes == "all":
        if onnx_only:
            raise WrongUsage("--runtimes all runs SavedModels too, and --onnx-only does not: leave one out.")
        _verify_everywhere(bundle)
        return
    report = check(bundle, onnx_only, "usual" if runtimes is None else runtimes.split(","))
    plain_console().print(facts_table(f"{bundle}: verified", report))


def _verify_everywhere(bundle: Path) -> None:
    from tfprior.export.runtime_table import runtime_table

    rows = runtime_table(bundle)
    plain_console().print(runtimes_table(f"{bundle}: in every runtime", rows))
    if any(row.fault and not row.is_missing for row in rows):
        raise typer.Exit(1)


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
    console = plain_console()
    if (source / MANIFEST).exists():
        console.print(bundle_table(source))
        return
    import_keras()
    if source.is_file():
        from tfprior.runs.model_file import read_model

        console.print(model_table(source, read_model(source)))
    else:
        from tfprior.runs import load_run

        console.print(run_table(load_run(source)))
