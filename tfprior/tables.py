"""Tables that the command line prints: scores, and what runs, priors and bundles hold."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from tfprior.priors import Prior
    from tfprior.training import RunFolder


def score_table(title: str, scores: dict[str, float]) -> Table:
    """Bits per dimension, the best one first; the first score is the prior's."""
    own = next(iter(scores))
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    table.add_column("bits/dim", justify="right")
    for name, bits in sorted(scores.items(), key=lambda item: item[1]):
        table.add_row(name, f"{bits:.4f}", style="bold green" if name == own else None)
    return table


def facts_table(title: str, facts: dict[str, Any]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in facts.items():
        if value is not None:
            table.add_row(name, str(value))
    return table


def run_table(run: "RunFolder") -> Table:
    data, model, options, versions = (run.config[name] for name in ("data", "model", "options", "versions"))
    history = run.history()
    best = min((row["validation"] for row in history), default=None)
    state = "finished" if run.result else "unfinished: the same `tfprior train` command goes on"
    return facts_table(
        str(run.path),
        {
            "state": state,
            "epochs": len(history),
            "best validation bits/dim": None if best is None else f"{best:.4f}",
            "data": data["name_or_path"],
            "grid": grid_line(data["grid_shape"], data["levels"]),
            **{"model" if name == "name" else name: value for name, value in model.items()},
            **options,
            "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        },
    )


def prior_table(path: Path, prior: "Prior") -> Table:
    return facts_table(
        str(path),
        {
            "model": type(prior).__name__,
            "grid": grid_line(prior.grid_shape, prior.distribution.num_levels),
            "classes": prior.num_classes,
            "parameters": f"{prior.count_params():,}",
        },
    )


def bundle_table(path: Path) -> Table:
    from tfprior.export import load_manifest

    manifest = load_manifest(path)
    table = Table(title=f"{path}: {manifest['model']['class']}", title_justify="left", show_header=False)
    if manifest["images"] is not None:
        table.add_row("images", grid_line(manifest["images"]["shape"], manifest["images"]["num_levels"]))
    for prior in manifest["priors"]:
        table.add_row(f"{prior['prefix']}grid", grid_line(prior["grid_shape"], prior["num_levels"]))
        table.add_row(f"{prior['prefix']}steps", str(prior["num_steps"]))
    for name, function in manifest["functions"].items():
        table.add_row(f"function {name}", "")
        for side in ("inputs", "outputs"):
            table.add_row(f"  {side}", "\n".join(tensor_line(one) for one in function[side]))
    for file in manifest["files"]:
        table.add_row(f"file {file['path']}", f"{file['bytes']:,} bytes")
    table.add_row(
        "versions", ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    )
    return table


def grid_line(shape: Iterable[int], num_levels: int) -> str:
    return f"{' × '.join(map(str, shape))}, {num_levels} levels"


def tensor_line(tensor: dict[str, Any]) -> str:
    return f"{tensor['name']} {tensor['dtype']} {tuple(tensor['shape'])}"
