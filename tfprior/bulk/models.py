"""The model of a job, opened once in each process: a bundle by ONNX Runtime alone, anything else by Keras."""

import dataclasses
import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfprior.bulk.job import Job, ModelAt
from tfprior.condition_kind import ConditionKind
from tfprior.runs.checkpoint import digest_of

MANIFEST = "manifest.json"
_OPENED: dict[tuple[ModelAt, bool], Any] = {}
_LOCK = threading.Lock()


class BundleEncoder:
    """The tokenizer of a bundle, with what `tfprior.data.codes.Encoder` asks of one.

    Args:
        bundle: an open OnnxGenerator.
        digest: of the bundle.

    Raises:
        ValueError: for more than one grid of codes.
    """

    def __init__(self, bundle: Any, digest: str) -> None:
        if len(bundle.samplers) != 1:
            raise ValueError(
                f"The bundle has {len(bundle.samplers)} grids of codes; expected one: encode parts of the "
                "data by its own `encode`."
            )
        self.code_shape, self.codebook_size = bundle.samplers[0].grid_shape, bundle.samplers[0].num_levels
        self.grid_shape, self.num_levels = bundle.grid_shape, bundle.num_levels
        self.encode = bundle.encode
        self._digest = digest

    def weights_digest(self) -> str:
        return self._digest


def open_model(
    path: str, tokenizer: str | None = None, finer: Sequence[str] = (), encodes: bool = False
) -> tuple[ModelAt, Any]:
    """Opens what lies at a path: a model of images, or what `encodes` them.

    Raises:
        FileNotFoundError: for a missing run or file.
        ValueError: for one that is damaged or of another kind, and a model conditioned on vectors or maps.
    """
    given = None if tokenizer is None else absolute(tokenizer)
    at = ModelAt(absolute(path), "", given, tuple(map(absolute, finer)))
    digest, model = (_open_bundle if is_bundle(path) else _open_keras)(at, encodes)
    at = dataclasses.replace(at, digest=digest)
    _OPENED.clear()  # one at a time is in memory
    _OPENED[at, encodes] = model
    return at, model


def model_of(job: Job) -> Any:
    """The model of a job.

    Raises:
        ValueError: for one that has changed since the job began; see also `open_model`.
    """
    encodes = job.task == "encode"
    with _LOCK:  # threads of a worker share it
        if (job.model, encodes) not in _OPENED:
            found, _ = open_model(job.model.path, job.model.tokenizer, job.model.finer, encodes)
            if found.digest != job.model.digest:
                raise ValueError(
                    f"{job.model.path} is not the model that the job began with: it has changed meanwhile; "
                    "put the old one back, or begin anew in another folder."
                )
        return _OPENED[job.model, encodes]


def is_bundle(path: str) -> bool:
    return (Path(path) / MANIFEST).is_file()


def absolute(path: str) -> str:
    """For workers elsewhere."""
    return str(Path(path).expanduser().resolve())


def _open_bundle(at: ModelAt, encodes: bool) -> tuple[str, Any]:
    from tfprior.export.client import OnnxGenerator, open_bundle

    if at.tokenizer is not None or at.finer:
        raise ValueError(
            f"The bundle {at.path} has its tokenizer and all of its priors inside; leave others out."
        )
    digest = digest_of(Path(at.path) / MANIFEST)
    bundle: Any = open_bundle(at.path, threads=1)  # the same batches on any machine; workers take the cores
    first = bundle.samplers[0] if isinstance(bundle, OnnxGenerator) else bundle
    _check_condition(at, first.condition_kind)
    if not encodes:
        return digest, bundle
    if not isinstance(bundle, OnnxGenerator):
        raise ValueError(
            f"The bundle {at.path} holds a prior and no tokenizer; expected one that encodes images."
        )
    return digest, BundleEncoder(bundle, digest)


def _open_keras(at: ModelAt, encodes: bool) -> tuple[str, Any]:
    from tfprior.compression.digests import of_architecture
    from tfprior.data.codes import check_one_grid
    from tfprior.runs import load_image_model, load_tokenizer

    model: Any
    if encodes:
        model = load_tokenizer(at.path)
        check_one_grid(model)
        parts = [model]
    else:
        model = load_image_model(at.path, at.tokenizer, at.finer)
        _check_condition(at, model.condition_kind)
        parts = model.parts()
    sha = hashlib.sha256(of_architecture(model))
    for part in parts:
        sha.update(part.weights_digest().encode())
    return sha.hexdigest(), model


def _check_condition(at: ModelAt, kind: ConditionKind | None) -> None:
    if kind is not None and not kind.is_label:
        raise ValueError(
            f"{at.path} is conditioned on {kind}; expected a model without a condition or with class labels: "
            "draw and score by its own methods."
        )
