"""Tables that the command line prints: scores, and what runs, files and bundles hold."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from tfprior.export.manifest import WeightsDescription
    from tfprior.export.ports import PortDescription
    from tfprior.export.runtime_table import RuntimeRow
    from tfprior.runs import RunFolder
    from tfprior.score import Score


def score_table(title: str, values: dict[str, float], score: "Score") -> Table:
    """What models have as their score, the best one first; the first one is the model's own."""
    own = next(iter(values))
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    table.add_column(score.unit, justify="right")
    for name, value in sorted(values.items(), key=lambda item: item[1], reverse=score.better == "max"):
        table.add_row(name, f"{value:.4f}", style="bold green" if name == own else None)
    return table


def size_table(title: str, sizes: dict[str, float], num_dims: int) -> Table:
    """Bytes, and what they are in bits per dimension, the smallest first; the first one given is our own."""
    own = next(iter(sizes))
    table = Table(title=title, title_justify="left")
    table.add_column("file")
    for unit in ("bytes", "bits/dim"):
        table.add_column(unit, justify="right")
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        style = "bold green" if name == own else None
        table.add_row(name, f"{size:,.0f}", f"{8 * size / num_dims:.4f}", style=style)
    return table


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    table = Table(title=title or None, title_justify="left", show_header=False)
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, str(value))
    return table


def runtimes_table(title: str, rows: "list[RuntimeRow]") -> Table:
    from tfprior.export.runtime_table import BATCH_SIZES

    table = Table(title=title, title_justify="left")
    times = (f"µs a step × {size}" for size in BATCH_SIZES)
    for heading in ("runtime", "equal integers", "nats", "drawn by", *times):
        table.add_column(heading)
    for row in rows:
        found = [f"{row.integers:,}", f"to {row.nats_error:.0e}", row.method]
        found += [f"{microseconds:.0f}" for microseconds in row.microseconds]
        table.add_row(row.runtime, *([row.fault] if row.fault else found))
    return table


def run_table(run: "RunFolder") -> Table:
    data, model, options, versions = (run.config[name] for name in ("data", "model", "options", "versions"))
    history = run.history()
    best = run.score.best_of(row["validation"] for row in history)
    state = "finished" if run.result else "unfinished: the same `tfprior train` command goes on"
    return facts_table(
        str(run.path),
        {
            "state": state,
            "epochs": len(history),
            f"best validation {run.score.unit}": f"{best:.4f}" if history else None,
            "data": data["name_or_path"],
            "grid": grid_line(data["grid_shape"], data["levels"], "codes" if run.of_codes else "levels"),
            "tokenizer": run.codes_origin and run.codes_origin.tokenizer,
            "grid of codes": grid_of_codes(run),
            **{"model" if name == "name" else name: value for name, value in model.items()},
            **options,
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        },
    )


def grid_of_codes(run: "RunFolder") -> str | None:
    """Which of the tokenizer's grids it is of; None where there is but one."""
    origin = run.codes_origin
    if origin is None or origin.num_grids == 1:
        return None
    return (
        f"{origin.grid} of {origin.num_grids}, {'given the coarser codes' if origin.grid else 'the coarsest'}"
    )


def model_table(path: Path, model: Any) -> Table:
    """What a .keras file holds: a prior, a tokenizer with its grids of codes, coarse to fine, an encoder."""
    encoder = getattr(model, "encoder", model)
    if hasattr(encoder, "image_shape") and hasattr(encoder, "feature_size"):
        return facts_table(
            str(path),
            {
                "model": type(model).__name__,
                "encoder": type(encoder).__name__,
                "images": " × ".join(map(str, encoder.image_shape)),
                "features": " × ".join(map(str, (*encoder.feature_size, encoder.num_features))),
                "classes": getattr(model, "num_classes", None),
                "parameters": f"{model.count_params():,}",
            },
        )
    tokenizer = model
    grids = (
        zip(tokenizer.code_shapes, tokenizer.codebook_sizes, strict=True) if model.kind == "tokenizer" else ()
    )
    return facts_table(
        str(path),
        {
            "model": type(model).__name__,
            "grid": grid_line(model.grid_shape, model.distribution.num_levels),
            "codes": "\n".join(grid_line(shape, size, "codes") for shape, size in grids) or None,
            "classes": model.num_classes,
            "parameters": f"{model.count_params():,}",
        },
    )


def grid_line(shape: Iterable[int], num_levels: int, values: str = "levels") -> str:
    return f"{' × '.join(map(str, shape))}, {num_levels} {values}"


def bundle_table(path: Path) -> Table:
    from tfprior.export import load_manifest

    manifest = load_manifest(path)
    table = Table(title=f"{path}: {manifest.model.class_name}", title_justify="left", show_header=False)
    images = manifest.images
    if images is not None:
        table.add_row("images", grid_line(images.shape, images.num_levels, "levels"))
    for prior in manifest.priors:
        values = "levels" if images is None else "codes"
        table.add_row(f"{prior.prefix}grid", grid_line(prior.grid_shape, prior.num_levels, values))
        table.add_row(f"{prior.prefix}steps", str(prior.num_steps))
    if manifest.encoder is not None:
        table.add_row("images", " × ".join(map(str, manifest.encoder.image_shape)))
        table.add_row("takes", manifest.encoder.input)
    if manifest.class_names:
        table.add_row("classes", "\n".join(manifest.class_names))
    if manifest.weights is not None:
        table.add_row("weights", weights_line(manifest.weights))
    for name, function in manifest.functions.items():
        table.add_row(f"function {name}", "")
        for side, ports in (("inputs", function.inputs), ("outputs", function.outputs)):
            table.add_row(f"  {side}", "\n".join(port_line(port) for port in ports))
    for file in manifest.files:
        table.add_row(f"file {file.path}", f"{file.bytes:,} bytes")
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    return table


def weights_line(weights: "WeightsDescription") -> str:
    added = weights.added_bits_per_dim
    return weights.type if added is None else f"{weights.type}, {added:+.4f} bits/dim on its own samples"


def port_line(port: "PortDescription") -> str:
    return f"{port.name} {port.dtype} {port.shape}"
