"""Is the bundle whole, and does every function in it still compute what the prior computed?"""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export.client import OnnxSampler
from tfprior.export.manifest import FILE_NAME, BundleError, checked_file, checked_files, load_manifest

TOLERANCE = 1e-5
"""Relative difference allowed between log-likelihoods in nats."""


def verify(path: str | Path) -> dict[str, str]:
    """Checks manifest, files, sizes and hashes, then replays the golden rollout in every format it finds.

    Returns what was checked: name → result in words. A SavedModel is a program: verify bundles you trust.

    Raises:
        BundleError: for the first thing that is missing, damaged, or computes something else.
    """
    path = Path(path)
    manifest = load_manifest(path)
    _check_files(path, manifest)
    report = {"files": f"{len(manifest['files'])} files with the sizes and hashes of the manifest"}
    names = {entry["path"].split("/")[0] for entry in manifest["files"]}
    if not names & {"onnx", "saved_model"}:
        raise BundleError(f"The bundle {path} holds neither ONNX nor SavedModel functions; export it again.")
    if "onnx" in names:
        sampler = OnnxSampler(path)
        for method in sampler.methods:
            report[f"onnx {method}"] = _replay(manifest, f"ONNX {method}", sampler.rollout, method)
        report["onnx log_prob"] = _replay_log_prob(manifest, "ONNX", sampler.log_prob)
    if "saved_model" in names:
        if importlib.util.find_spec("tensorflow") is None:
            report["saved_model"] = "not replayed: TensorFlow is not installed"
        else:
            report |= _verify_saved_model(path, manifest)
    return report


def _check_files(path: Path, manifest: dict[str, Any]) -> None:
    listed = {entry["path"] for entry in manifest["files"]}
    found = {
        file.relative_to(path).as_posix()
        for file in path.rglob("*")
        if file.is_symlink() or not file.is_dir()
    }
    unknown = sorted(found - listed - {FILE_NAME})
    if unknown:
        raise BundleError(
            f"The bundle {path} holds {unknown[0]}, which its manifest does not list: remove it."
        )
    for name in sorted(listed):
        checked_file(path, manifest, name)


def _replay(manifest: dict[str, Any], name: str, rollout: Any, *arguments: Any) -> str:
    golden = manifest["golden"]
    uniforms = np.asarray(golden["uniforms"], "float32")
    values, log_prob = rollout(uniforms, golden_condition(manifest), 1.0, *arguments)
    differing = int((values != np.asarray(golden["values"], "int32")).sum())
    if differing:
        raise BundleError(
            f"{name} drew {differing} of {values.size} golden integers differently: the bundle "
            "does not reproduce its prior here; do not use it."
        )
    return f"{values.size} of {values.size} integers, {_compare(golden, name, log_prob)}"


def _replay_log_prob(manifest: dict[str, Any], name: str, log_prob: Any) -> str:
    golden = manifest["golden"]
    return _compare(golden, name, log_prob(np.asarray(golden["values"], "int32"), golden_condition(manifest)))


def _compare(golden: dict[str, Any], name: str, log_prob: np.ndarray) -> str:
    expected = np.asarray(golden["log_prob"])
    worst = float(np.max(np.abs(log_prob - expected) / np.maximum(1.0, np.abs(expected))))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"{name} gives log-likelihoods of the golden rollout that differ by {worst:.1e} (relative): the "
            "bundle does not reproduce its prior here; do not use it."
        )
    return f"log-likelihoods to {worst:.0e}"


def golden_condition(manifest: dict[str, Any]) -> np.ndarray | None:
    """The condition of the golden rollout, in the type that the functions take."""
    if manifest["condition"] is None:
        return None
    dtype = "int32" if manifest["condition"]["kind"] == "label" else "float32"
    return np.asarray(manifest["golden"]["condition"], dtype)


def _verify_saved_model(path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(checked_files(path, manifest, "saved_model") / "1"))
    signatures = loaded.signatures

    def step_rollout(uniforms: np.ndarray, condition: Any, temperature: float) -> Any:
        batch, height, width, noise = uniforms.shape
        uniforms = uniforms.reshape(batch, height * width, noise)
        given = {"temperature": tf.fill((batch,), temperature), **_given(condition)}
        state = signatures["initial_state"](position=tf.zeros((batch,), tf.int32))["state"]
        previous = tf.zeros((batch, manifest["grid_shape"][-1]), tf.int32)
        values, nats = [], np.zeros(batch, "float64")
        for position in range(height * width):
            out = signatures["step"](
                state=state,
                previous=previous,
                position=tf.fill((batch,), position),
                uniforms=tf.constant(uniforms[:, position]),
                **given,
            )
            state, previous = out["state_out"], out["value"]
            values.append(previous.numpy())
            nats += out["log_prob"].numpy()
        return np.stack(values, axis=1).reshape(batch, height, width, -1), nats

    def pair_rollout(uniforms: np.ndarray, condition: Any, temperature: float) -> Any:
        batch, height, width, _ = uniforms.shape
        row_state, left_end = (
            tf.zeros((batch, *_port(manifest, function, f"{function}_state")["shape"][1:]))
            for function in ("row", "pixel")
        )
        finished = tf.zeros((batch, width, manifest["grid_shape"][-1]), tf.int32)
        rows, nats = [], np.zeros(batch, "float64")
        for y in range(height):
            position = tf.fill((batch,), y * width)
            begun = signatures["row"](
                row_state=row_state, finished_row=finished, position=position, **_given(condition)
            )
            row_state, pixel_state, previous, values = begun["row_state_out"], left_end, finished[:, 0], []
            for x in range(width):
                out = signatures["pixel"](
                    pixel_state=pixel_state,
                    row_features=begun["row_features"],
                    previous=previous,
                    position=position + x,
                    uniforms=tf.constant(uniforms[:, y, x]),
                    temperature=tf.fill((batch,), temperature),
                )
                pixel_state, previous = out["pixel_state_out"], out["value"]
                values.append(previous)
                nats += out["log_prob"].numpy()
            finished = tf.stack(values, axis=1)
            rows.append(finished.numpy())
        return np.stack(rows, axis=1), nats

    def loop_rollout(uniforms: np.ndarray, condition: Any, temperature: float) -> Any:
        out = signatures["sample"](
            uniforms=tf.constant(uniforms),
            temperature=tf.fill((len(uniforms),), temperature),
            **_given(condition),
        )
        return out["values"].numpy(), out["log_prob"].numpy()

    def log_prob(values: np.ndarray, condition: Any) -> np.ndarray:
        return signatures["log_prob"](values=tf.constant(values), **_given(condition))["log_prob"].numpy()

    pair = {}
    if "row" in signatures:
        pair["saved_model pair"] = _replay(manifest, "SavedModel pair", pair_rollout)
    return {
        **pair,
        "saved_model step": _replay(manifest, "SavedModel step", step_rollout),
        "saved_model sample": _replay(manifest, "SavedModel sample", loop_rollout),
        "saved_model log_prob": _replay_log_prob(manifest, "SavedModel", log_prob),
    }


def _port(manifest: dict[str, Any], function: str, name: str) -> dict[str, Any]:
    return next(port for port in manifest["functions"][function]["inputs"] if port["name"] == name)


def _given(condition: np.ndarray | None) -> dict[str, Any]:
    import tensorflow as tf

    return {} if condition is None else {"condition": tf.constant(condition)}
