"""Bundles as files: written whole or not at all, refused when anything in them is not as it was."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from bundle_files import edit_manifest, replace_file

import tfprior.export
from tfprior.distributions import Categorical
from tfprior.export import bundle as saving
from tfprior.export import load_manifest
from tfprior.export import onnx as onnx_export
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxSampler
from tfprior.export.golden import golden_rollout
from tfprior.priors import GatedPixelCNN


@pytest.fixture(scope="module")
def prior() -> GatedPixelCNN:
    keras.utils.set_random_seed(0)
    return GatedPixelCNN(
        (3, 4, 1), Categorical(4), filters=4, num_layers=1, first_kernel_size=3, num_classes=2
    )


@pytest.fixture(scope="module")
def written(prior: GatedPixelCNN, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tfprior.export.save(prior, tmp_path_factory.mktemp("bundles") / "prior")


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "prior"))


def golden(manifest: dict) -> dict:
    return manifest["priors"][0]["golden"]


def flip_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(bytes(content))


def replace_in_manifest(bundle: Path, old: str, new: str) -> None:
    file = bundle / "manifest.json"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-10])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "changed byte": (lambda b: flip_byte(b / "onnx/step.onnx"), "SHA-256"),
    "changed byte of the SavedModel": (lambda b: flip_byte(b / "saved_model/1/saved_model.pb"), "SHA-256"),
    "truncated": (lambda b: truncate(b / "onnx/step.onnx"), "truncated or changed"),
    "missing file": (lambda b: (b / "onnx/step.onnx").unlink(), "missing or no regular file"),
    "link": (
        lambda b: ((b / "onnx/step.onnx").rename(b / "x"), (b / "onnx/step.onnx").symlink_to(b / "x")),
        "no regular file|does not list",
    ),
    "unlisted file": (lambda b: (b / "onnx/more.onnx").write_text("?"), "does not list"),
    "no manifest": (lambda b: (b / "manifest.json").unlink(), "has no manifest.json"),
    "truncated manifest": (lambda b: truncate(b / "manifest.json"), "unreadable"),
    "newer schema": (
        lambda b: edit_manifest(b, lambda m: m.update(schema_version=7)),
        "schema version 7 and this tfprior reads 2 to 6: upgrade tfprior",
    ),
    "older schema": (
        lambda b: edit_manifest(b, lambda m: m.update(schema_version=1)),
        "schema version 1 and this tfprior reads 2 to 6: export the bundle again",
    ),
    "changed manifest": (
        lambda b: replace_in_manifest(b, '"num_steps": 12', '"num_steps": 13'),
        "manifest.json does not have its own SHA-256: it was changed",
    ),
    "other format": (lambda b: edit_manifest(b, lambda m: m.update(format="?")), "not the manifest"),
    "other golden values": (
        lambda b: edit_manifest(
            b, lambda m: golden(m).update(values=(1 - np.asarray(golden(m)["values"]) // 2).tolist())
        ),
        "golden integers differently",
    ),
    "other golden likelihood": (
        lambda b: edit_manifest(b, lambda m: golden(m).update(log_prob=[-1.0, -1.0])),
        "log-likelihoods of the golden rollout that differ",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_bundle_is_refused_in_one_sentence(bundle: Path, damage: str) -> None:
    apply, message = DAMAGE[damage]
    apply(bundle)
    with pytest.raises(BundleError, match=message) as error:
        tfprior.export.verify(bundle)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "damage", ["changed byte", "truncated", "missing file", "newer schema", "no manifest"]
)
def test_the_client_checks_before_it_opens(bundle: Path, damage: str) -> None:
    DAMAGE[damage][0](bundle)
    with pytest.raises(BundleError):
        OnnxSampler(bundle)


def test_a_bundle_may_hold_one_format(prior: GatedPixelCNN, tmp_path: Path) -> None:
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("saved_model",))
    assert not (path / "onnx").exists()
    assert {name.split()[0] for name in tfprior.export.verify(path)} == {"files", "saved_model"}
    with pytest.raises(BundleError, match=r"holds no onnx/step.onnx; export it again"):
        OnnxSampler(path)


def test_a_saved_model_is_run_only_if_it_may_be(bundle: Path) -> None:
    whole = tfprior.export.verify(bundle)
    replace_file(bundle, "saved_model/1/saved_model.pb", b"a program")
    with pytest.raises(BundleError, match=r"TensorFlow does not load .*saved_model/1 ") as error:
        tfprior.export.verify(bundle)
    assert "\n" not in str(error.value)
    report = tfprior.export.verify(bundle, onnx_only=True)
    assert report.pop("saved_model") == "not replayed: ONNX only"
    assert report == {name: result for name, result in whole.items() if not name.startswith("saved_model")}


def test_a_bundle_without_onnx_cannot_be_verified_by_onnx_alone(prior: GatedPixelCNN, tmp_path: Path) -> None:
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("saved_model",))
    with pytest.raises(BundleError, match="holds no ONNX functions; export it again"):
        tfprior.export.verify(path, onnx_only=True)


def test_nothing_is_left_of_an_export_that_fails(
    prior: GatedPixelCNN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise onnx_export.ConversionError("no")

    monkeypatch.setattr(onnx_export, "write_onnx", fail)
    with pytest.raises(onnx_export.ConversionError):
        tfprior.export.save(prior, tmp_path / "prior")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["expm1", "log1p"])
def test_operators_of_small_numbers_keep_their_digits(name: str, tmp_path: Path) -> None:
    import onnxruntime
    import tensorflow as tf

    from tfprior.export.saved_model import concrete_function
    from tfprior.export.signatures import Function, Port

    x = Port("x", "float32", (12,), "any")
    call = getattr(tf.math, name)
    function = Function(name, lambda tensors: {"y": call(tensors["x"])}, (x,), (x._replace(name="y"),))
    onnx_export.write_onnx(function, concrete_function(function), tmp_path / "x.onnx", {})
    session = onnxruntime.InferenceSession(str(tmp_path / "x.onnx"), providers=["CPUExecutionProvider"])
    numbers = np.array([[0, 1e-30, 1e-8, -1e-8, 1e-4, -1e-4, 0.3, -0.3, -0.9, 1, 5, 20]], "float32")
    (found,) = session.run(None, {"x": numbers})
    np.testing.assert_allclose(found, getattr(np, name)(numbers.astype("float64")), rtol=2e-6, atol=0)


def test_names_are_of_the_classes(prior_bundle: Path, tmp_path: Path) -> None:
    sampler = OnnxSampler(prior_bundle)
    expected = sampler.sample(3, [1, 0, 1], seed=0)
    for given in (["odd", "even", "odd"], ("odd", 0, 1), np.array(["odd", "even", "odd"])):
        np.testing.assert_array_equal(sampler.sample(3, given, seed=0), expected)
    with pytest.raises(ValueError, match=r"No class is called 'none'; .* in \[0, 1\] or one of even, odd"):
        sampler.sample(1, ["none"])
    prior = GatedPixelCNN((2, 3, 1), Categorical(4), filters=4, num_layers=1, num_classes=2)
    for names, message in [
        (["a"], "Got 1 class_names and the model has 2 classes"),
        (["a", "b\n"], r"class_names hold 'b\\n'; expected a line of text"),
        (["a", ""], "class_names hold ''"),
        ("ab", "class_names='ab'; expected a list of names"),
    ]:
        with pytest.raises(ValueError, match=message):
            tfprior.export.save(prior, tmp_path / "b", class_names=names)
    prior = GatedPixelCNN((2, 3, 1), Categorical(4), filters=4, num_layers=1)
    with pytest.raises(ValueError, match="Got 2 class_names and the model has no classes"):
        tfprior.export.save(prior, tmp_path / "b", class_names=["a", "b"])


def test_more_than_graphs_can_hold_goes_into_a_saved_model_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "LARGEST_FROZEN", 100)
    prior = GatedPixelCNN((2, 2, 1), Categorical(2), filters=4, num_layers=1, first_kernel_size=3)
    with pytest.raises(ValueError, match=r"holds at most 100 .*; export formats=\('saved_model',\) alone"):
        tfprior.export.save(prior, tmp_path / "prior")
    path = tfprior.export.save(prior, tmp_path / "prior", formats=("saved_model",))
    assert load_manifest(path).formats() == {"saved_model"}


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    diverged = GatedPixelCNN((3, 4, 1), Categorical(4), filters=4, num_layers=1, first_kernel_size=3)
    weights = diverged.get_weights()
    weights[0][:] = np.nan
    diverged.set_weights(weights)
    with pytest.raises(ValueError, match="hold NaN or infinity, so the training diverged"):
        tfprior.export.save(diverged, tmp_path / "prior")
    assert list(tmp_path.iterdir()) == []


def test_an_existing_path_is_replaced_only_on_request(prior: GatedPixelCNN, tmp_path: Path) -> None:
    path = tmp_path / "prior"
    path.mkdir()
    (path / "manifest.json").write_text("an older bundle")
    with pytest.raises(ValueError, match="exists; choose another path, or pass overwrite=True"):
        tfprior.export.save(prior, path)
    assert (path / "manifest.json").read_text() == "an older bundle"
    tfprior.export.save(prior, path, formats=("saved_model",), overwrite=True, of_codes=True)
    assert tfprior.export.load_manifest(path).pixels is None
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "saved_model"]
    assert list(tmp_path.iterdir()) == [path]


def test_only_a_bundle_is_ever_replaced(prior: GatedPixelCNN, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match="is no bundle, so it is not replaced"):
        tfprior.export.save(prior, tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "keep"


@pytest.mark.parametrize("formats", [("torch",), ()])
def test_unknown_formats_are_named(prior: GatedPixelCNN, tmp_path: Path, formats: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected some of saved_model, onnx"):
        tfprior.export.save(prior, tmp_path / "prior", formats=formats)


def test_the_golden_rollout_keeps_its_distance_from_the_steps(prior: GatedPixelCNN) -> None:
    from tfprior.sampling import sample

    rollout = golden_rollout(prior)
    noise = np.asarray(rollout.uniforms, "float32")
    for offset in (-5e-6, 5e-6):
        nudged = np.clip(noise + np.float32(offset), 0, 1 - 2**-23)
        values = sample(prior, len(noise), rollout.condition, nudged)
        np.testing.assert_array_equal(values, rollout.values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_samples": 0}, "expected a positive integer"),
        ({"condition": None}, r"condition=None; expected integer labels \(batch,\) in \[0, 1\]"),
        ({"condition": np.asarray([0, 2])}, r"Labels lie in \[0, 2\]; expected \[0, 1\]"),
        ({"condition": np.asarray([0.0, 1.0])}, "dtype float64; expected integer labels"),
        ({"condition": np.asarray([0])}, "1 rows for 2 examples"),
        ({"temperature": 0.0}, "expected a positive number"),
        ({"method": "magic"}, "expected one of loop, pair, step"),
        ({"uniforms": np.zeros((2, 3, 4, 2), "float32")}, r"expected \(2, 3, 4, 1\)"),
        ({"uniforms": np.ones((2, 3, 4, 1), "float32")}, r"leave \[0, 1\)"),
        ({"num_samples": 2.5}, "expected a positive integer"),
        ({"uniforms": np.zeros((2, 3, 4, 1)), "seed": 1}, "leave the seed out"),
        (
            {"observed": np.full((2, 3, 4, 1), np.nan), "mask": np.ones((3, 4), bool)},
            "observed values have dtype float64",
        ),
        (
            {"observed": np.zeros((2, 3, 4, 1), "int32"), "mask": np.ones((4, 3), bool)},
            r"bool of shape \(3, 4\)",
        ),
        ({"observed": np.zeros((2, 3, 4, 1), "int32")}, "both `observed` values and a `mask`"),
        (
            {"observed": np.zeros((2, 3, 4, 1), "int32"), "mask": np.ones((3, 4))},
            "True where a pixel is hidden",
        ),
        (
            {"observed": np.zeros((2, 3, 4, 1), "int32"), "mask": np.ones((3, 4), bool), "method": "loop"},
            "expected one of pair, step",
        ),
    ],
)
def test_the_client_names_what_is_wrong(written: Path, arguments: dict, message: str) -> None:
    given = {"num_samples": 2, "condition": np.asarray([0, 1]), **arguments}
    with pytest.raises(ValueError, match=message):
        OnnxSampler(written).sample(**given)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 3, 4, 1), "float32"), "dtype float32; expected integers"),
        (np.zeros((2, 4, 3, 1), "int32"), r"expected \(batch, 3, 4, 1\)"),
        (np.full((2, 3, 4, 1), 4), r"lie in \[4, 4\]; expected integers in \[0, 3\]"),
    ],
)
def test_the_client_scores_integer_grids_only(written: Path, values: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        OnnxSampler(written).log_prob(values, np.asarray([0, 1]))
