"""Writing a bundle: every function in every format, checked as a whole before it appears."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops

from tfprior import __version__
from tfprior.atomic import flush
from tfprior.export.description import (
    describe_function,
    describe_images,
    describe_pixels,
    describe_priors,
    describe_weights,
    functions_of,
)
from tfprior.export.encoder_functions import (
    AroundEncoder,
    describe_encoder,
    encoder_functions,
    is_around_encoder,
)
from tfprior.export.manifest import Manifest, ModelDescription
from tfprior.export.manifest_file import FILE_NAME, describe_files, write_manifest
from tfprior.export.narrow_weights import WEIGHT_TYPES, WeightType, rounded
from tfprior.export.runtimes import RUNTIMES
from tfprior.float32_copies import in_float32
from tfprior.image_model import ImageModel

FORMATS = ("saved_model", "onnx", "litert")
USUAL_FORMATS = ("saved_model", "onnx")
LARGEST_FROZEN = 2**31 - 2**26
"""Bytes of weights beside which a graph of 2 GiB has room for its nodes."""


def save(
    model: ImageModel | AroundEncoder,
    path: str | Path,
    formats: Iterable[str] = USUAL_FORMATS,
    overwrite: bool = False,
    single_files: bool = False,
    class_names: Sequence[str] | None = None,
    of_codes: bool = False,
    weights: WeightType = "float32",
) -> Path:
    """Exports a prior, a generator with its tokenizer, or an encoder and what is around it, as a bundle.

    It holds SavedModel and ONNX functions, and LiteRT's if `formats` name them ("saved_model", "onnx",
    "litert"), a manifest, and golden rollouts or features. It is written beside `path`, verified (every graph
    checked, loaded, and compared with Keras), and only then renamed into place.
    The ONNX graphs share one file of weights; with `single_files` each holds its own. Labels that are
    a condition, or that a classifier tells apart, may have `class_names`, the class 0 first. A prior alone is
    of pixels, unless it is `of_codes`.

    `weights` of "float16" or "int8" (with a scale for each channel) are rounded before anything else, and the
    ONNX graphs, which compute in float32 all the same, take a half or a quarter of the bytes; the manifest
    says how many bits/dim that costs images which the model draws.

    Raises:
        ValueError: for an unknown format or type of weights, one that cannot be tried here, names that are
            not those of the model's classes, or a path that exists (unless `overwrite`).
        BundleError: if a written graph does not reproduce the model.
    """
    path, formats = Path(path), tuple(formats)
    unknown = sorted(set(formats) - set(FORMATS))
    if unknown or not formats:
        fault = f"Unknown formats {unknown}" if unknown else "Got no formats"
        raise ValueError(f"{fault}; expected some of {', '.join(FORMATS)}.")
    if weights not in WEIGHT_TYPES:
        raise ValueError(f"weights={weights!r}; expected one of {', '.join(WEIGHT_TYPES)}.")
    names = _checked_names(class_names, getattr(model, "num_classes", None))
    _check_target(path, overwrite)
    litert = RUNTIMES["litert"]
    if litert.format in formats and not litert.is_installed:
        raise ValueError(f"formats name litert and {litert.missing}; a bundle is tried before it appears.")
    if isinstance(model, ImageModel):
        model = model.for_sampling()
        _check_levels(model)
    elif is_around_encoder(model):
        model = in_float32(model)
    else:
        raise ValueError(
            f"{type(model).__name__} cannot be exported; expected a prior, a Generator of a tokenizer and "
            "the priors of its codes, an encoder or a Classifier."
        )
    _check_model(model)
    _check_size(model, formats)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        _write(model, partial, formats, single_files, names, of_codes, weights)
        from tfprior.export.verification import verify

        verify(partial)
        _sync(partial)
        _move(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _checked_names(names: Sequence[str] | None, num_classes: int | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str):
        raise ValueError(f"class_names={names!r}; expected a list of names.")
    if num_classes != len(names):
        classes = "has no classes" if num_classes is None else f"has {num_classes} classes"
        raise ValueError(
            f"Got {len(names)} class_names and the model {classes}; expected one for each class."
        )
    for name in names:
        if not isinstance(name, str) or not name.isprintable() or not name:
            raise ValueError(f"class_names hold {name!r}; expected a line of text for each class.")
    return tuple(names)


def _check_levels(model: ImageModel) -> None:
    for prior in model.chain():
        if prior.num_levels > 2**24:
            raise ValueError(
                f"The prior has {prior.num_levels} levels; expected at most 2^24, up to which "
                "the float32 state holds every integer."
            )


def _check_model(model: keras.Model) -> None:
    for part in model._flatten_layers():
        if part.compute_dtype != "float32":
            raise ValueError(
                f"The model computes in {part.compute_dtype} (layer {part.name}); expected float32, which "
                'every runtime has: build it anew with dtype="float32" and set its weights.'
            )
    for weight in model.weights:
        if not np.isfinite(ops.convert_to_numpy(weight)).all():
            raise ValueError(
                f"The weights {weight.path} hold NaN or infinity, so the training diverged; export a model "
                "from before."
            )
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            f"Export needs Keras on TensorFlow and it runs on {keras.backend.backend()}: save the model as "
            ".keras, and load and export it with KERAS_BACKEND=tensorflow."
        )


def _check_size(model: keras.Model, formats: tuple[str, ...]) -> None:
    num_bytes = 4 * model.count_params()
    if num_bytes > LARGEST_FROZEN and set(formats) != {"saved_model"}:
        raise ValueError(
            f"The weights take {num_bytes:,} bytes, and a graph that is converted to ONNX or LiteRT holds at "
            f"most {LARGEST_FROZEN:,} (protocol buffers end at 2 GiB); export formats=('saved_model',) alone."
        )


def _check_target(path: Path, overwrite: bool) -> None:
    if not path.exists():
        return
    if not overwrite:
        raise ValueError(f"{path} exists; choose another path, or pass overwrite=True to replace a bundle.")
    if not path.is_dir() or (any(path.iterdir()) and not (path / FILE_NAME).is_file()):
        raise ValueError(f"{path} exists and is no bundle, so it is not replaced; choose another path.")


def _write(
    model: ImageModel | AroundEncoder,
    root: Path,
    formats: tuple[str, ...],
    single_files: bool,
    class_names: tuple[str, ...] | None,
    of_codes: bool,
    weight_type: WeightType,
) -> None:
    from tfprior.export.litert import FILE as LITERT
    from tfprior.export.litert import write_litert
    from tfprior.export.onnx import OPSET, write_onnx
    from tfprior.export.saved_model import concrete_function, tensor_names, write_saved_model
    from tfprior.export.shared_weights import SharedWeights
    from tfprior.export.warmup import write_warmup

    original, model = model, rounded(model, weight_type)
    made = functions_of(model) if isinstance(model, ImageModel) else encoder_functions(model)
    graphs = {function.name: concrete_function(function) for function in made}
    if "onnx" in formats:
        (root / "onnx").mkdir()
        weights = None if single_files else SharedWeights(root / "onnx")
        for function in made:
            file = root / "onnx" / f"{function.name}.onnx"
            write_onnx(function, graphs[function.name], file, {"tfprior": __version__}, weights, weight_type)
    if "saved_model" in formats or "litert" in formats:
        write_saved_model(model, graphs, root / "saved_model" / "1")
    if "litert" in formats:
        write_litert(root / "saved_model" / "1", graphs, root / LITERT)
    if "saved_model" in formats:
        write_warmup(made, root / "saved_model" / "1")
    else:
        shutil.rmtree(root / "saved_model", ignore_errors=True)
    priors, images, encoder, tensors = (), None, None, None
    if isinstance(model, ImageModel):
        priors = describe_priors(model, class_names)
        images = None if model.tokenizer is None else describe_images(model, priors)
    else:
        encoder = describe_encoder(model, class_names)
    described = {function.name: describe_function(function) for function in made}
    if "saved_model" in formats:
        tensors = tensor_names(root / "saved_model" / "1", described)
    manifest = Manifest(
        model=ModelDescription(
            class_name=type(model).__name__,
            config=keras.saving.serialize_keras_object(model)["config"],
            parameters=model.count_params(),
        ),
        priors=priors,
        images=images,
        opset=OPSET,
        versions=_versions(),
        functions=described,
        files=describe_files(root),
        encoder=encoder,
        saved_model=tensors,
        pixels=None if of_codes else describe_pixels(model),
        weights=describe_weights(original, model, weight_type),
    )
    write_manifest(root, manifest)


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
