"""Bundles that are exported for every runtime, and replayed in it."""

from pathlib import Path
from typing import Any

import tfprior.export
from tfprior.export.bundle import FORMATS
from tfprior.export.runtimes import RUNTIMES, USUAL
from tfprior.priors import PixelCNNPP


def runtimes_of(model: Any) -> list[str]:
    """Those that draw what the model draws. OpenVINO reads memory that it has not written in PixelCNN++."""
    return [name for name in RUNTIMES if name != "openvino" or not isinstance(model, PixelCNNPP)]


def save_everywhere(model: Any, path: Path, **options: Any) -> Path:
    """Exports a model in all formats; raises where a runtime of `runtimes_of` draws anything else."""
    assert all(runtime.is_installed for runtime in RUNTIMES.values())
    tfprior.export.save(model, path, formats=FORMATS, **options)  # replays what the usual runtimes make of it
    others = [name for name in runtimes_of(model) if name not in USUAL]
    if others:
        report = tfprior.export.verify(path, runtimes=others)
        assert {name.split()[0] for name in report} == {"files", *others}
    return path
