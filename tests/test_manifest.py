"""Manifests: every field is read strictly and agrees with the others."""

import json
import shutil
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest
from bundle_files import edit_manifest
from small_bundles import CLASSES, GRID, LEVELS

from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxGenerator, OnnxSampler
from tfprior.export.manifest_file import from_plain, load_manifest, manifest_digest
from tfprior.export.strict_json import plain


@pytest.fixture
def bundle(prior_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(prior_bundle, tmp_path / "prior"))


def test_a_manifest_is_read_as_it_was_written(prior_bundle: Path, generator_bundle: Path) -> None:
    for path in (prior_bundle, generator_bundle):
        manifest = load_manifest(path)
        text = (path / "manifest.json").read_text()
        fields = json.loads(text)
        envelope = [fields.pop(name) for name in ("format", "schema_version", "manifest_sha256")]
        assert envelope == ["tfprior.bundle", 6, manifest_digest(text.encode())]
        assert plain(manifest) == fields
        assert plain(from_plain(fields)) == fields


def test_a_manifest_says_what_the_prior_is(prior_bundle: Path) -> None:
    manifest = load_manifest(prior_bundle)
    (prior,) = manifest.priors
    assert (manifest.model.class_name, manifest.images) == ("GatedPixelCNN", None)
    assert (prior.grid_shape, prior.num_levels, prior.num_steps, prior.prefix) == (GRID, LEVELS, 12, "")
    assert prior.condition is not None
    assert (prior.condition.kind, prior.condition.num_classes, prior.condition.shape) == ("label", 2, None)
    assert (manifest.class_names, manifest.pixels) == (prior.condition.class_names, "grey")
    assert manifest.class_names == CLASSES
    assert prior.golden.values.shape == (2, *GRID)
    assert prior.golden.condition.tolist() == [0, 1]  # type: ignore[union-attr]
    assert manifest.functions["step"].input("condition").dtype == "int32"
    with pytest.raises(FrozenInstanceError):
        prior.num_levels = 5  # type: ignore[misc]


def test_a_manifest_of_before_opens(bundle: Path) -> None:
    def forget(fields: dict) -> None:
        del fields["saved_model"], fields["priors"][0]["noise"]["generator"]
        del fields["weights"], fields["pixels"], fields["priors"][0]["condition"]["class_names"]
        fields["schema_version"] = 4

    edit_manifest(bundle, forget)
    manifest = load_manifest(bundle)
    assert (manifest.saved_model, manifest.pixels, manifest.class_names) == (None, None, ())
    assert OnnxSampler(bundle).sample(1, [1], seed=0).shape == (1, *GRID)
    assert manifest.priors[0].noise.generator == "philox4x32-10"


def set_at(*place: Any, to: Any) -> Callable[[dict], None]:
    """An edit that puts a value in a place of the manifest."""

    def edit(fields: dict) -> None:
        *before, last = place
        for key in before:
            fields = fields[key]
        fields[last] = to

    return edit


def nested(depth: int) -> list:
    made: list = []
    for _ in range(depth):
        made = [made]
    return made


PRIOR = ("priors", 0)
GOLDEN = (*PRIOR, "golden")
STEP = ("functions", "step")
FIELDS: dict[str, tuple[Callable[[dict], object], str]] = {
    "tensors of few functions": (
        set_at("saved_model", to={"step": {"inputs": {}, "outputs": {}}}),
        "saved_model.initial_state has other ports than functions.initial_state",
    ),
    "a tensor of no operation": (
        set_at("saved_model", to={"step": {"inputs": {"state": "step state"}, "outputs": {}}}),
        "the port 'state' is the tensor 'step state'; expected OPERATION:INDEX",
    ),
    "a taller grid": (
        set_at(*PRIOR, "grid_shape", 0, to=4),
        "num_steps is 12; expected 16 for grids of 4 × 4",
    ),
    "a taller grid of more steps": (
        lambda m: m["priors"][0].update(grid_shape=[4, 4, 1], num_steps=16),
        r"golden.values has the shape \(2, 3, 4, 1\); expected \(2, 4, 4, 1\)",
    ),
    "another number of steps": (set_at(*PRIOR, "num_steps", to=11), "num_steps is 11; expected 12"),
    "fewer levels": (
        set_at(*PRIOR, "num_levels", to=2),
        r"golden.values lies in \[0, 3\]; expected \[0, 1\]",
    ),
    "more noise": (
        set_at(*PRIOR, "noise", "per_step", to=2),
        r"golden.uniforms has the shape \(2, 3, 4, 1\); expected \(2, 3, 4, 2\)",
    ),
    "noise of another kind": (
        set_at(*PRIOR, "noise", "distribution", to="normal"),
        r"priors\[0\].noise.distribution is 'normal'; expected 'uniform on \[0, 1\)'",
    ),
    "noise above one": (
        set_at(*GOLDEN, "uniforms", 0, 0, 0, 0, to=1.0),
        r"golden.uniforms leave \[0, 1\)",
    ),
    "fewer classes": (
        lambda m: m["priors"][0]["condition"].update(num_classes=1, class_names=None),
        r"golden.condition lies in \[0, 1\]; expected \[0, 0\]",
    ),
    "fewer names of classes": (
        set_at(*PRIOR, "condition", "class_names", to=["even"]),
        "condition.class_names are 1; expected null, or one for each of 2 classes",
    ),
    "names of no classes": (
        lambda m: m["priors"][0]["condition"].update(kind="vector", num_classes=None, shape=[1]),
        "condition.class_names are 2; expected null, or one for each of 0 classes",
    ),
    "a name of two lines": (
        set_at(*PRIOR, "condition", "class_names", to=["even", "odd\n"]),
        r"class_names\[1\] is 'odd\\n'; expected a line of text",
    ),
    "colours of one channel": (
        set_at("pixels", to="RGB"),
        r"pixels are 'RGB' of the shape \(3, 4, 1\); expected 'grey' of one channel",
    ),
    "no condition": (set_at(*PRIOR, "condition", to=None), "golden.condition is given; expected null"),
    "a condition of another kind": (
        set_at(*PRIOR, "condition", "kind", to="map"),
        "condition of kind 'map' has num_classes 2 and shape None",
    ),
    "a condition made by a function": (
        lambda m: (
            m["priors"][0]["golden"].update(condition=None),
            m["priors"][0]["condition"].update(
                kind="vector", num_classes=None, shape=[1], function="step", class_names=None
            ),
        ),
        "condition of prior 0 is made by the function 'step'",
    ),
    "a prefix": (set_at(*PRIOR, "prefix", to="top_"), r"prefixes \['top_'\]; expected '' for a single one"),
    "no priors": (set_at("priors", to=[]), r"prefixes \[\]"),
    "a missing field": (lambda m: m.pop("functions"), "it lacks the field 'functions'"),
    "a missing inner field": (
        lambda m: m["priors"][0].pop("noise"),
        r"it lacks the field 'priors\[0\].noise'",
    ),
    "an unknown field": (set_at(*PRIOR, "colour", to=1), r"it has the unknown field 'priors\[0\].colour'"),
    "a bool for a size": (
        set_at(*PRIOR, "grid_shape", 2, to=True),
        r"priors\[0\].grid_shape\[2\] is True; expected a whole number from 1 to 2147483647",
    ),
    "a float for a size": (
        set_at(*PRIOR, "num_levels", to=4.0),
        "num_levels is 4.0; expected a whole number",
    ),
    "zero for a size": (
        set_at(*PRIOR, "num_levels", to=0),
        "num_levels is 0; expected a whole number from 1",
    ),
    "text for a size": (set_at(*PRIOR, "num_steps", to="12"), "num_steps is '12'; expected a whole number"),
    "an enormous size": (set_at(*PRIOR, "grid_shape", 0, to=10**1000), "is a number of 1001 digits"),
    "two sizes": (set_at(*PRIOR, "grid_shape", to=[3, 4]), "grid_shape is a list of 2; expected a list of 3"),
    "a text for a list": (set_at("files", to="onnx"), "files is 'onnx'; expected a list"),
    "a list for an object": (set_at("functions", to=[]), "functions is a list of 0; expected an object"),
    "an enormous port": (
        set_at(*STEP, "inputs", 0, "shape", to=["batch", 2**20, 2**20]),
        r"the port 'state' has the shape \(1048576, 1048576\); expected at most 268435456 numbers",
    ),
    "a port without batch": (
        set_at(*STEP, "inputs", 0, "shape", to=[3]),
        r"the port 'state' has the shape \(3,\); expected \('batch', …\)",
    ),
    "a port of another type": (
        set_at(*STEP, "inputs", 0, "dtype", to="string"),
        "expected 'float32' or 'int32'",
    ),
    "a port of another name": (
        set_at(*STEP, "inputs", 0, "name", to="memory"),
        "the ports of step.inputs are condition, memory, .*; expected condition, position, ",
    ),
    "a port twice": (set_at(*STEP, "inputs", 0, "name", to="previous"), "each with a name of its own"),
    "another state": (
        set_at(*STEP, "inputs", 0, "shape", 1, to=7),
        r"step.inputs has state float32 \(7,\); expected float32 \(\d+,\), by its priors",
    ),
    "noise of another port": (
        set_at("functions", "sample", "inputs", 0, "shape", to=["batch", 4, 3, 1]),
        r"sample.inputs has uniforms float32 \(4, 3, 1\); expected float32 \(3, 4, 1\)",
    ),
    "half a pair": (lambda m: m["functions"].pop("row"), "it lacks the function 'row'"),
    "no step": (lambda m: m["functions"].pop("step"), "it lacks the function 'step'"),
    "an unknown function": (
        lambda m: m["functions"].update(jump=m["functions"]["step"]),
        "it has the unknown functions jump",
    ),
    "an unknown model": (set_at("model", "class_name", to="os.system"), "expected the name of a class"),
    "a generator without images": (
        set_at("model", "class_name", to="Generator"),
        "a Generator has 1 priors and no images",
    ),
    "no files": (set_at("files", to=[]), "lists no files"),
    "a file twice": (lambda m: m["files"].append(m["files"][0]), "lists a file twice"),
    "a file outside": (
        set_at("files", 0, "path", to="../secret"),
        "'../secret', which lies outside the bundle",
    ),
    "an absolute file": (set_at("files", 0, "path", to="/etc/passwd"), "'/etc/passwd', which lies outside"),
    "a file of odd name": (set_at("files", 0, "path", to="onnx/\0"), "expected a line of text"),
    "a hash of another kind": (set_at("files", 0, "sha256", to="?"), "expected 64 hexadecimal digits"),
    "a negative file": (set_at("files", 0, "bytes", to=-1), "bytes is -1; expected a whole number from 0"),
    "text over lines": (
        set_at("versions", "keras", to="3\n15"),
        "versions.keras is '3.n15'; expected a line",
    ),
    "ragged golden values": (
        set_at(*GOLDEN, "values", 0, to=[[[0]]]),
        r"golden.values is a list of 2; expected lists of equal lengths",
    ),
    "golden values of floats": (
        set_at(*GOLDEN, "values", 0, 0, 0, 0, to=1.5),
        "golden.values is a list of 2; expected lists of whole numbers",
    ),
    "golden values of bools": (
        set_at(*GOLDEN, "values", 0, 0, 0, 0, to=True),
        "expected lists of whole numbers",
    ),
    "golden values nested deeply": (
        set_at(*GOLDEN, "values", to=nested(20)),
        "expected lists of equal lengths",
    ),
    "no golden values": (set_at(*GOLDEN, "values", to=[]), "expected lists of equal lengths, none empty"),
    "a golden likelihood too many": (
        set_at(*GOLDEN, "log_prob", to=[-1.0, -1.0, -1.0]),
        r"golden.log_prob has the shape \(3,\); expected \(2,\)",
    ),
}


@pytest.mark.parametrize("damage", FIELDS)
def test_a_field_that_is_wrong_is_named(bundle: Path, damage: str) -> None:
    edit, message = FIELDS[damage]
    edit_manifest(bundle, edit)
    for open_bundle in (load_manifest, OnnxSampler):
        with pytest.raises(BundleError, match=f"manifest.json is no valid manifest: .*{message}") as error:
            open_bundle(bundle)
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 600


TEXTS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda text: text[:-10], "unreadable"),
    "empty": (lambda text: b"", "unreadable"),
    "not UTF-8": (lambda text: text[:-3] + b"\xff" + text[-3:], "unreadable .*'utf-8' codec can't decode"),
    "nested deeply": (lambda text: b"[" * 100_000, "unreadable .it is nested too deeply"),
    "NaN": (lambda text: text.replace(b'"opset": 18', b'"opset": NaN'), "it holds NaN, which is no JSON"),
    "infinity": (lambda text: text.replace(b'"opset": 18', b'"opset": -Infinity'), "it holds -Infinity"),
    "a key twice": (lambda text: text.replace(b'"opset"', b'"opset": 18, "opset"'), "it has a key twice"),
    "a list": (lambda text: b"[]", "is not the manifest of a tfprior.bundle"),
    "a number of 5000 digits": (
        lambda text: text.replace(b'"opset": 18', b'"opset": ' + b"1" * 5000),
        "unreadable .Exceeds the limit",
    ),
    "another line end": (lambda text: text.replace(b"\n", b"\r\n"), "does not have its own SHA-256"),
    "another digit": (
        lambda text: text.replace(b'"opset": 18', b'"opset": 19'),
        "does not have its own SHA-256",
    ),
    "no digest": (
        lambda text: text.replace(b'"manifest_sha256"', b'"manifest_sha512"'),
        "does not have its own SHA-256",
    ),
}


@pytest.mark.parametrize("damage", TEXTS)
def test_a_text_that_is_no_manifest_is_refused(bundle: Path, damage: str) -> None:
    change, message = TEXTS[damage]
    file = bundle / "manifest.json"
    text = file.read_bytes()
    assert change(text) != text
    file.write_bytes(change(text))
    with pytest.raises(BundleError, match=f"manifest.json .*{message}") as error:
        load_manifest(bundle)
    assert "\n" not in str(error.value)


def test_every_flipped_bit_of_a_manifest_is_refused(bundle: Path) -> None:
    file = bundle / "manifest.json"
    text = file.read_bytes()
    for position in range(0, len(text), 97):
        changed = bytearray(text)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        with pytest.raises(BundleError):
            load_manifest(bundle)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (set_at("images", "shape", 0, to=7), r"images.golden.images has the shape \(2, 8, 4, 1\)"),
        (set_at("images", "num_levels", to=8), r"images.golden.images lies in .* expected \[0, 7\]"),
        (set_at("images", "golden", "codes", to=[]), "images.golden.codes are 0 grids; expected 1"),
        (set_at("images", to=None), "a Generator has 1 priors and no images; expected images"),
        (lambda m: m["functions"].pop("decode"), "it lacks the function 'decode'"),
        (
            set_at("functions", "encode", "outputs", 0, "shape", to=["batch", 2, 4, 1]),
            r"encode.outputs has codes int32 \(2, 4, 1\); expected int32 \(4, 2, 1\)",
        ),
    ],
)
def test_a_generator_s_fields_are_compared(
    generator_bundle: Path, tmp_path: Path, edit: Callable[[dict], object], message: str
) -> None:
    generator = Path(shutil.copytree(generator_bundle, tmp_path / "images"))
    edit_manifest(generator, edit)
    with pytest.raises(BundleError, match=message):
        OnnxGenerator(generator)
