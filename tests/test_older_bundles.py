"""A bundle that tfprior exported when manifests had schema 2: a prior of two classes, as ONNX alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from bundle_files import edit_manifest
from node import ask

from tfprior.export import load_manifest, verify
from tfprior.export.checks import BundleError
from tfprior.export.client import OnnxSampler

ARCHIVE = Path(__file__).parent / "oracles" / "bundle_of_schema_2.zip"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shutil.unpack_archive(ARCHIVE, tmp_path / "prior")
    return tmp_path / "prior"


def test_it_draws_what_it_drew(bundle: Path) -> None:
    assert set(verify(bundle)) == {"files", "onnx loop", "onnx pair", "onnx step", "onnx log_prob"}
    (prior,) = load_manifest(bundle).priors
    assert (prior.orders, prior.cache, prior.hidden_apart, prior.golden.order) == ("raster", None, None, None)
    client, golden = OnnxSampler(bundle), prior.golden
    assert golden.condition is not None
    drawn = client.sample(2, golden.condition.astype("int32"), golden.uniforms.astype("float32"))
    np.testing.assert_array_equal(drawn, golden.values)


def test_javascript_draws_the_same(bundle: Path) -> None:
    options = {"count": 3, "condition": 1, "seed": 4}
    (answer,) = ask(bundle, ("sample", options))
    expected = OnnxSampler(bundle).sample(3, [1, 1, 1], seed=4)
    np.testing.assert_array_equal(answer["values"], expected.ravel())


def test_what_is_no_manifest_of_then_is_refused(bundle: Path) -> None:
    whole = (bundle / "manifest.json").read_text()
    for wrong in (None, [], [1], [{}], [{"golden": 1}]):
        edit_manifest(bundle, lambda fields, wrong=wrong: fields.update(priors=wrong))
        with pytest.raises(BundleError, match="is no valid manifest"):
            load_manifest(bundle)
        (bundle / "manifest.json").write_text(whole)
