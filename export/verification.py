"""Is the bundle whole, and does every function in it still compute what the model computed?"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from tfprior.export.arrays import Arrays, Known, Run
from tfprior.export.checks import BundleError
from tfprior.export.encoder_description import CLASSIFY, FEATURES, RECONSTRUCT, EncoderDescription
from tfprior.export.manifest import Manifest
from tfprior.export.manifest_file import FILE_NAME, checked_file, load_manifest
from tfprior.export.prior_description import GoldenRollout, PriorDescription
from tfprior.export.rollout import Rollout, condition_from
from tfprior.export.runtimes import RUNTIMES, USUAL

TOLERANCE = 1e-5
"""Relative difference allowed between log-likelihoods in nats."""
PIXEL_TOLERANCE = 1e-4
"""Difference allowed between expected images whose levels lie on [0, 1]."""
FEATURE_TOLERANCE = 1e-4
"""Relative difference allowed between features, and between logits."""


class Outcome(NamedTuple):
    """What a comparison found equal: integers, and log-likelihoods up to a relative error."""

    words: str
    integers: int = 0
    nats_error: float = 0.0


def together(*outcomes: Outcome) -> Outcome:
    return Outcome(
        ", ".join(outcome.words for outcome in outcomes),
        sum(outcome.integers for outcome in outcomes),
        max((outcome.nats_error for outcome in outcomes), default=0.0),
    )


def verify(
    path: str | Path, onnx_only: bool = False, runtimes: Iterable[str] | Literal["usual", "all"] = "usual"
) -> dict[str, str]:
    """Checks manifest, files, sizes and hashes, then replays the golden rollouts in every format it finds.

    Returns what was checked: name → result in words. A SavedModel is a program, and replaying it runs it;
    with `onnx_only` its files are checked and it is left alone.

    Args:
        path: the bundle.
        onnx_only: whether ONNX graphs alone are run.
        runtimes: names of `runtimes.RUNTIMES`; as usual each format is run by what it was made for, with
            "all" by all that run it. One that is not installed is named in what is returned.

    Raises:
        BundleError: for the first thing that is missing, damaged, or computes something else.
        ValueError: for a runtime that is not known.
    """
    asked = chosen_runtimes(runtimes)
    path = Path(path)
    manifest = load_manifest(path)
    report = {"files": check_files(path, manifest)}
    formats = manifest.formats()
    if not formats & ({"onnx"} if onnx_only else {"onnx", "saved_model", "litert"}):
        missing = "no ONNX functions" if onnx_only else "neither ONNX nor SavedModel nor LiteRT functions"
        raise BundleError(f"The bundle {path} holds {missing}; export it again.")
    for name in asked:
        runtime = RUNTIMES[name]
        if runtime.format not in formats:
            if runtimes not in ("usual", "all"):
                raise BundleError(
                    f"The bundle {path} holds no {runtime.format} functions for {runtime.title}; export it "
                    "again with that format."
                )
            continue
        if onnx_only and runtime.format != "onnx":
            report[name] = "not replayed: ONNX only"
        elif not runtime.is_installed:
            report[name] = f"not replayed: {runtime.missing}"
        else:
            replayed = replay(name, manifest, runtime.open(path, manifest))
            report |= {what: outcome.words for what, outcome in replayed.items()}
    return report


def chosen_runtimes(runtimes: Iterable[str] | Literal["usual", "all"]) -> list[str]:
    """Names of runtimes in their order.

    Raises:
        ValueError: for one that is not known.
    """
    if isinstance(runtimes, str) and runtimes in ("usual", "all"):
        return list(USUAL if runtimes == "usual" else RUNTIMES)
    names = [runtimes] if isinstance(runtimes, str) else list(runtimes)
    unknown = [name for name in names if name not in RUNTIMES]
    if unknown or not names:
        raise ValueError(f"Unknown runtimes {unknown}; expected some of {', '.join(RUNTIMES)}, or 'all'.")
    return [name for name in RUNTIMES if name in names]


def check_files(path: Path, manifest: Manifest) -> str:
    """Compares every file of a bundle with its manifest; says so in words.

    Raises:
        BundleError: for the first one that is missing, changed, or not listed.
    """
    listed = {entry.path for entry in manifest.files}
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
    return f"{len(manifest.files)} files with the sizes and hashes of the manifest"


def replay(kind: str, manifest: Manifest, run: Run) -> dict[str, Outcome]:
    """The golden rollout of every prior by every method, then that of the images.

    Raises:
        BundleError: for the first that differs.
    """
    report: dict[str, Outcome] = {}
    above = None
    for prior in manifest.priors:
        golden, prefix = prior.golden, prior.prefix
        condition = golden_condition(prior) if above is None else condition_from(above, prior, manifest, run)
        given = {} if condition is None else {"condition": condition}
        options = golden_options(golden)
        rollout, above = Rollout(run, manifest, prior), golden.values
        if golden.order is not None:
            given["order"] = golden.order.astype("int32")
        uniforms = golden.uniforms.astype("float32")
        for method in rollout.methods:
            name = f"{kind} {prefix}{method}"
            drawn = rollout.draw(method, uniforms, {**options, **given})
            report[name] = _compare_draws(golden, name, *drawn)
        if rollout.passes is not None:
            name = f"{kind} {prefix}log_prob_given"
            nats = rollout.passes.log_prob(golden.values, given)
            report[name] = _compare_nats(golden.log_prob, name, nats)
        if prior.cache is not None:
            name = f"{kind} {prefix}prefill"
            known = Known(golden.values, second_half(prior))
            drawn = rollout.draw("step", uniforms, {**options, **given}, known)
            report[name] = _compare_integers(golden.values, name, drawn.values)
        name = f"{kind} {prefix}log_prob"
        report[name] = _compare_nats(golden.log_prob, name, rollout.log_prob(golden.values, given))
    if manifest.images is not None:
        report |= _replay_images(kind, manifest, run)
    if manifest.encoder is not None:
        report |= _replay_encoder(kind, manifest.encoder, run)
    return report


def second_half(prior: PriorDescription) -> np.ndarray:
    """What comes in the second half of the golden rollout's order, or of raster order: (N, H, W) bool."""
    order, (height, width, _) = prior.golden.order, prior.grid_shape
    ranks = np.arange(prior.num_steps)[None] if order is None else np.argsort(order, axis=1)
    hidden = ranks.reshape(-1, height, width) >= prior.num_steps // 2
    return np.broadcast_to(hidden, prior.golden.values.shape[:3])


def golden_condition(prior: PriorDescription) -> np.ndarray | None:
    """The condition of a golden rollout, in the type that the functions take."""
    if prior.condition is None or prior.golden.condition is None:
        return None
    return prior.golden.condition.astype(prior.condition.dtype)


def golden_options(golden: GoldenRollout) -> Arrays:
    """How a golden rollout is drawn, as the functions take it."""
    options = {"temperature": np.ones(len(golden.values), "float32")}
    return options if golden.guidance is None else {**options, "guidance": golden.guidance.astype("float32")}


def _replay_images(kind: str, manifest: Manifest, run: Run) -> dict[str, Outcome]:
    """Encoding, decoding, and the whole way from noise to images."""
    priors, images = manifest.priors, manifest.images
    assert images is not None
    golden, top = images.golden, images.num_levels - 1
    names = [f"{prior.prefix}codes" for prior in priors]
    drawn = {name: prior.golden.values for name, prior in zip(names, priors, strict=True)}
    found = dict(zip(names, golden.codes, strict=True))
    noise = {f"{prior.prefix}uniforms": prior.golden.uniforms.astype("float32") for prior in priors}
    condition = golden_condition(priors[0])
    condition_arrays = {} if condition is None else {"condition": condition}
    image_arrays = {"images": golden.images}
    nats = np.sum([prior.golden.log_prob for prior in priors], axis=0)

    encoded = run("encode", image_arrays)
    decoded = run("decode", drawn)
    options = {name: array for prior in priors for name, array in golden_options(prior.golden).items()}
    made = run("generate", {**noise, **condition_arrays, **options})
    bound = run("log_prob_bound", {**image_arrays, **condition_arrays})["log_prob"]
    name = f"{kind} generate"
    return {
        f"{kind} encode": _compare_codes(found, f"{kind} encode", encoded),
        f"{kind} decode": _compare_images(golden.expected, f"{kind} decode", decoded["images"], top),
        name: together(
            _compare_codes(drawn, name, made),
            _compare_images(golden.expected, name, made["images"], top),
            _compare_nats(nats, name, made["log_prob"]),
        ),
        f"{kind} log_prob_bound": _compare_nats(golden.log_prob_bound, f"{kind} log_prob_bound", bound),
    }


def _replay_encoder(kind: str, encoder: EncoderDescription, run: Run) -> dict[str, Outcome]:
    golden = encoder.golden
    images = {"images": golden.images}
    report = {
        f"{kind} {FEATURES}": _compare_floats(golden.features, f"{kind} {FEATURES}", run(FEATURES, images))
    }
    if golden.reconstruction is not None and golden.noise is not None:
        name, noise = f"{kind} {RECONSTRUCT}", golden.noise.astype("float32")
        made = run(RECONSTRUCT, {**images, "noise": noise})["reconstruction"]
        report[name] = _compare_floats(golden.reconstruction, name, {"pixels": made})
    if golden.logits is not None:
        name = f"{kind} {CLASSIFY}"
        report[name] = _compare_floats(golden.logits, name, run(CLASSIFY, images))
    return report


def _compare_floats(expected: np.ndarray, name: str, found: Arrays) -> Outcome:
    ((what, array),) = found.items()
    worst = float(np.max(np.abs(array - expected) / np.maximum(1.0, np.abs(expected))))
    if not worst <= FEATURE_TOLERANCE:
        raise BundleError(
            f"{name} gives golden {what} that differ by {worst:.1e} (relative): the bundle does not "
            "reproduce its model here; do not use it."
        )
    return Outcome(f"{array.size} {what} to {worst:.0e}")


def _compare_draws(golden: GoldenRollout, name: str, values: np.ndarray, log_prob: np.ndarray) -> Outcome:
    return together(
        _compare_integers(golden.values, name, values), _compare_nats(golden.log_prob, name, log_prob)
    )


def _compare_codes(expected: Arrays, name: str, codes: Arrays) -> Outcome:
    grids = [np.concatenate([one[grid].reshape(-1) for grid in expected]) for one in (expected, codes)]
    return _compare_integers(grids[0], name, grids[1])


def _compare_integers(expected: np.ndarray, name: str, values: np.ndarray) -> Outcome:
    differing = int((values != expected).sum())
    if differing:
        raise BundleError(
            f"{name} gives {differing} of {values.size} golden integers differently: the bundle does not "
            "reproduce its model here; do not use it."
        )
    return Outcome(f"{values.size} of {values.size} integers", integers=values.size)


def _compare_nats(expected: np.ndarray, name: str, log_prob: np.ndarray) -> Outcome:
    worst = float(np.max(np.abs(log_prob - expected) / np.maximum(1.0, np.abs(expected))))
    if not worst <= TOLERANCE:
        raise BundleError(
            f"{name} gives log-likelihoods of the golden rollout that differ by {worst:.1e} (relative): the "
            "bundle does not reproduce its model here; do not use it."
        )
    return Outcome(f"log-likelihoods to {worst:.0e}", nats_error=worst)


def _compare_images(expected: np.ndarray, name: str, images: np.ndarray, top: int) -> Outcome:
    worst = float(np.max(np.abs(images - expected))) / top
    if not worst <= PIXEL_TOLERANCE + 5e-4 / top:  # written to three decimals
        raise BundleError(
            f"{name} gives golden images that differ by {worst:.1e} of their range: the bundle does not "
            "reproduce its model here; do not use it."
        )
    return Outcome(f"pixels to {worst:.0e}")
