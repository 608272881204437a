"""Is the bundle whole, and does every function in it still compute what the model computed?"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfprior.export.client import OnnxSampler
from tfprior.export.manifest import FILE_NAME, BundleError, checked_file, checked_files, load_manifest
from tfprior.export.onnx_functions import Arrays, OnnxFunctions

TOLERANCE = 1e-5
"""Relative difference allowed between log-likelihoods in nats."""
PIXEL_TOLERANCE = 1e-4
"""Difference allowed between expected images whose levels lie on [0, 1]."""

Run = Callable[[str, Arrays], Arrays]
"""A function of a bundle by its name: named arrays in, named arrays out."""


def verify(path: str | Path) -> dict[str, str]:
    """Checks manifest, files, sizes and hashes, then replays the golden rollouts in every format it finds.

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
        report |= _verify_onnx(path, manifest)
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


def _verify_onnx(path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    samplers = [OnnxSampler(path, prefix=prior["prefix"]) for prior in manifest["priors"]]
    return _replay_all("onnx", manifest, samplers, OnnxFunctions(path).run)


def _verify_saved_model(path: Path, manifest: dict[str, Any]) -> dict[str, str]:
    import tensorflow as tf

    from tfprior.export.saved_model_sampler import SavedModelSampler

    loaded = tf.saved_model.load(str(checked_files(path, manifest, "saved_model") / "1"))
    signatures = loaded.signatures

    def run(function: str, arrays: Arrays) -> Arrays:
        out = signatures[function](**{name: tf.constant(array) for name, array in arrays.items()})
        return {name: tensor.numpy() for name, tensor in out.items()}

    samplers = [SavedModelSampler(signatures, prior) for prior in manifest["priors"]]
    return _replay_all("saved_model", manifest, samplers, run)


def _replay_all(kind: str, manifest: dict[str, Any], samplers: list[Any], run: Run) -> dict[str, str]:
    """The golden rollout of every prior by every method, then that of the images."""
    report: dict[str, str] = {}
    above = None
    for prior, sampler in zip(manifest["priors"], samplers, strict=True):
        condition = golden_condition(prior) if above is None else _condition_from(above, prior, manifest, run)
        golden, prefix = prior["golden"], prior["prefix"]
        for method in sampler.methods:
            name = f"{kind} {prefix}{method}"
            uniforms = np.asarray(golden["uniforms"], "float32")
            report[name] = _compare_draws(golden, name, *sampler.rollout(uniforms, condition, 1.0, method))
        above = np.asarray(golden["values"], "int32")
        name = f"{kind} {prefix}log_prob"
        nats = sampler.log_prob(above, condition)
        report[name] = _compare_nats(golden["log_prob"], name, nats)
    if manifest["images"] is not None:
        report |= _replay_images(kind, manifest, run)
    return report


def _condition_from(
    above: np.ndarray, prior: dict[str, Any], manifest: dict[str, Any], run: Run
) -> np.ndarray:
    function = prior["condition"]["function"]
    (port,) = manifest["functions"][function]["inputs"]
    return run(function, {port["name"]: above})["condition"]


def golden_condition(prior: dict[str, Any]) -> np.ndarray | None:
    """The condition of a golden rollout, in the type that the functions take."""
    if prior["condition"] is None:
        return None
    dtype = "int32" if prior["condition"]["kind"] == "label" else "float32"
    return np.asarray(prior["golden"]["condition"], dtype)


def _replay_images(kind: str, manifest: dict[str, Any], run: Run) -> dict[str, str]:
    """Encoding, decoding, and the whole way from noise to images."""
    priors, images = manifest["priors"], manifest["images"]
    golden, top = images["golden"], images["num_levels"] - 1
    names = [f"{prior['prefix']}codes" for prior in priors]
    drawn = {
        name: np.asarray(prior["golden"]["values"], "int32")
        for name, prior in zip(names, priors, strict=True)
    }
    found = {name: np.asarray(codes, "int32") for name, codes in zip(names, golden["codes"], strict=True)}
    noise = {
        f"{prior['prefix']}uniforms": np.asarray(prior["golden"]["uniforms"], "float32") for prior in priors
    }
    condition = golden_condition(priors[0])
    given = {} if condition is None else {"condition": condition}
    given_images = {"images": np.asarray(golden["images"], "int32")}
    nats = np.sum([prior["golden"]["log_prob"] for prior in priors], axis=0)

    encoded = run("encode", given_images)
    decoded = run("decode", drawn)
    made = run("generate", {**noise, **given, "temperature": np.ones(len(nats), "float32")})
    bound = run("log_prob_bound", {**given_images, **given})["log_prob"]
    name = f"{kind} generate"
    return {
        f"{kind} encode": _compare_codes(found, f"{kind} encode", encoded),
        f"{kind} decode": _compare_images(golden["expected"], f"{kind} decode", decoded["images"], top),
        name: "; ".join(
            (
                _compare_codes(drawn, name, made),
                _compare_images(golden["expected"], name, made["images"], top),
                _compare_nats(nats, name, made["log_prob"]),
            )
        ),
        f"{kind} log_prob_bound": _compare_nats(golden["log_prob_bound"], f"{kind} log_prob_bound", bound),
    }


def _compare_draws(golden: dict[str, Any], name: str, values: np.ndarray, log_prob: np.ndarray) -> str:
    integers = _compare_integers(np.asarray(golden["values"], "int32"), name, values)
    return f"{integers}, {_compare_nats(golden['log_prob'], name, log_prob)}"


def _compare_codes(expected: Arrays, name: str, codes: Arrays) -> str:
    grids = [np.concatenate([one[grid].reshape(-1) for grid in expected]) for one in (expected, codes)]
    return _compare_integers(grids[0], name, grids[1])


def _compare_integers(expected: np.ndarray, name: str, values: np.ndarray) -> str:
    differing = int((values != expected).sum())
    if differing:
        raise BundleError(
            f"{name} gives {differing} of {values.size} golden integers differently: the bundle does not "
            "reproduce its model here; do not use it."
        )
    return f"{values.size} of {values.size} integers"


def _compare_nats(expected: Any, name: str, log_prob: np.ndarray) -> str:
    expected = np.asarray(expected)
    worst = float(np.max(np.abs(log_prob - expected) / np.maximum(1.0, np.abs(expected))))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"{name} gives log-likelihoods of the golden rollout that differ by {worst:.1e} (relative): the "
            "bundle does not reproduce its model here; do not use it."
        )
    return f"log-likelihoods to {worst:.0e}"


def _compare_images(expected: Any, name: str, images: np.ndarray, top: int) -> str:
    worst = float(np.max(np.abs(images - np.asarray(expected)))) / top
    if not worst <= PIXEL_TOLERANCE + 5e-4 / top:  # written to three decimals
        raise BundleError(
            f"{name} gives golden images that differ by {worst:.1e} of their range: the bundle does not "
            "reproduce its model here; do not use it."
        )
    return f"pixels to {worst:.0e}"
