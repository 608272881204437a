"""Writing a bundle: every function in every format, checked as a whole before it appears."""

import json
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tfprior import __version__
from tfprior.atomic import flush
from tfprior.export import manifest as bundle_manifest
from tfprior.export.functions import Function, Port, condition_kind, functions, model_description
from tfprior.priors import Prior
from tfprior.sampling import sample

FORMATS = ("saved_model", "onnx")
GOLDEN_SAMPLES = 2


def save(
    prior: Prior,
    path: str | Path,
    formats: Iterable[str] = FORMATS,
    overwrite: bool = False,
) -> Path:
    """Exports the prior as a bundle at `path`: SavedModel and ONNX functions, manifest, golden rollout.

    The bundle is written beside `path`, verified (every graph checked, loaded, and rolled out against Keras),
    and only then renamed into place.

    Raises:
        ValueError: for an unknown format, or a path that exists (unless `overwrite`).
        BundleError: if a written graph does not reproduce the prior.
    """
    path, formats = Path(path), tuple(formats)
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        given = f"Unknown formats {unknown}" if unknown else "Got no formats"
        raise ValueError(f"{given}; expected some of {', '.join(FORMATS)}.")
    _check_target(path, overwrite)
    if type(prior).__name__ not in bundle_manifest.MODELS:
        raise ValueError(
            f"{type(prior).__name__} cannot be exported; expected one of {', '.join(bundle_manifest.MODELS)}."
        )
    if prior.distribution.num_levels > 2**24:
        raise ValueError(
            f"The prior has {prior.distribution.num_levels} levels; expected at most 2^24, up to which the "
            "float32 state holds every integer."
        )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Export needs Keras on TensorFlow and it runs on {keras.backend.backend()}: save the prior as "
            ".keras, and load and export it with KERAS_BACKEND=tensorflow."
        )
    prior = prior.for_sampling()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write(prior, partial, formats)
        from tfprior.export.verification import verify

        verify(partial)
        _sync(partial)
        _move(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise ValueError(f"{path} exists; choose another path, or pass overwrite=True to replace a bundle.")
    if not path.is_dir() or (any(path.iterdir()) and not (path / bundle_manifest.FILE_NAME).is_file()):
        raise ValueError(f"{path} exists and is no bundle, so it is not replaced; choose another path.")


def _write(prior: Prior, root: Path, formats: tuple[str, ...]) -> None:
    from tfprior.export.onnx import OPSET, write_onnx
    from tfprior.export.saved_model import concrete_function, write_saved_model
    from tfprior.export.warmup import write_warmup

    made = functions(prior)
    graphs = {function.name: concrete_function(function) for function in made}
    if "onnx" in formats:
        (root / "onnx").mkdir()
        for function in made:
            file = root / "onnx" / f"{function.name}.onnx"
            write_onnx(function, graphs[function.name], file, {"tfprior": __version__})
    if "saved_model" in formats:
        write_saved_model(prior, graphs, root / "saved_model" / "1")
        write_warmup(made, root / "saved_model" / "1")
    content = {
        "format": bundle_manifest.FORMAT,
        "schema_version": bundle_manifest.SCHEMA_VERSION,
        "model": model_description(prior),
        "grid_shape": list(prior.grid_shape),
        "num_levels": prior.distribution.num_levels,
        "num_steps": prior.num_steps,
        "condition": condition_kind(prior),
        "noise": {
            "distribution": "uniform on [0, 1)",
            "dtype": "float32",
            "per_step": prior.distribution.num_uniforms(prior.grid_shape[-1]),
        },
        "opset": OPSET,
        "functions": {function.name: _describe(function) for function in made},
        "versions": _versions(),
        "golden": golden_rollout(prior),
        "files": bundle_manifest.describe_files(root),
    }
    text = json.dumps(content, indent=1, allow_nan=False)
    (root / bundle_manifest.FILE_NAME).write_text(text, encoding="utf-8")


def _describe(function: Function) -> dict[str, Any]:
    def describe(port: Port) -> dict[str, Any]:
        return {
            "name": port.name,
            "dtype": port.dtype,
            "shape": ["batch", *port.shape],
            "meaning": port.meaning,
        }

    return {
        "inputs": [describe(port) for port in function.inputs],
        "outputs": [describe(port) for port in function.outputs],
    }


def _versions() -> dict[str, str]:
    import onnx
    import tensorflow as tf
    import tf2onnx

    return {
        "tfprior": __version__,
        "keras": keras.__version__,
        "tensorflow": tf.__version__,
        "tf2onnx": tf2onnx.__version__,
        "onnx": onnx.__version__,
    }


def golden_rollout(prior: Prior) -> dict[str, Any]:
    """Noise, the integers that the prior draws from it, and their log-likelihood: what every runtime repeats.

    The noise keeps a distance from every step of the CDF (1e-5, less where many levels make many steps), so
    that rounding in no runtime can change an integer.

    Raises:
        BundleError: when no such noise is found.
    """
    height, width, channels = prior.grid_shape
    generator = np.random.default_rng(0)
    shape = (GOLDEN_SAMPLES, height * width, prior.distribution.num_uniforms(channels))
    uniforms = _decimals(generator, shape)
    condition = _golden_condition(prior, generator)
    margin = min(1e-5, 0.01 / prior.distribution.num_levels)
    for _ in range(2 * prior.num_steps):
        noise = uniforms.reshape(-1, height, width, shape[-1]).copy()
        values = sample(prior, GOLDEN_SAMPLES, condition, noise)
        close = _close_to_a_step(prior, values, noise, condition, margin).reshape(GOLDEN_SAMPLES, -1)
        if not close.any():
            break
        # What follows a changed pixel changes too, so only the first one of each sample is drawn anew.
        for row in np.flatnonzero(close.any(axis=1)):
            uniforms[row, close[row].argmax()] = _decimals(generator, shape[-1:])
    else:
        raise bundle_manifest.BundleError(
            "Found no noise that keeps away from the steps of the CDF; is the prior trained, and free of NaN?"
        )
    log_prob = ops.convert_to_numpy(prior.log_prob(values, condition))
    return {
        "uniforms": np.round(noise.astype("float64"), 4).tolist(),
        "condition": None if condition is None else np.round(condition.astype("float64"), 4).tolist(),
        "values": values.tolist(),
        "log_prob": log_prob.astype("float64").tolist(),
    }


def _decimals(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniforms of four decimals: short in JSON, and the same float32 in every language."""
    return (generator.integers(0, 10_000, shape) / 10_000).astype("float32")


def _golden_condition(prior: Prior, generator: np.random.Generator) -> np.ndarray | None:
    if prior.num_classes is not None:
        return np.asarray([0, prior.num_classes - 1], "int32")
    if prior.condition_shape is not None:
        drawn = generator.standard_normal((GOLDEN_SAMPLES, *prior.condition_shape))
        return np.round(drawn, 3).astype("float32")
    return None


def _close_to_a_step(
    prior: Prior, values: np.ndarray, noise: np.ndarray, condition: Any, margin: float
) -> np.ndarray:
    """(B, H, W) bool: where noise that differs by `margin` would have drawn another value."""
    params = prior(values if condition is None else {"values": values, "condition": condition})
    nudged = [np.clip(noise + offset, 0, 1 - 2**-23).astype("float32") for offset in (-margin, margin)]
    draws = [ops.convert_to_numpy(prior.distribution.sample(params, u)[0]) for u in nudged]
    return np.any([drawn != values for drawn in draws], axis=(0, -1))


def _sync(root: Path) -> None:
    for path in (root, *root.rglob("*")):
        flush(path)


def _move(partial: Path, path: Path) -> None:
    """Renames into place; an older bundle leaves only once the new one stands there."""
    partial.chmod(0o755)
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent)) / path.name
    try:
        if path.exists():
            path.rename(old)
        try:
            partial.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
        flush(path.parent)
    finally:
        shutil.rmtree(old.parent)
