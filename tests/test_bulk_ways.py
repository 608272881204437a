"""Jobs by models that draw and code in more than one way."""

from pathlib import Path
from typing import Any

import catalogue
import numpy as np
import pytest
from catalogue import values_of
from small_jobs import samples_in
from typer.testing import CliRunner

from tfprior.bulk import compress_job, sample_job
from tfprior.cli import app
from tfprior.compression import decompress, read_header
from tfprior.priors import AnyOrderTransformer, GatedPixelCNN, MaskedTransformer
from tfprior.runs import load_prior, save_model

GRID = (2, 3, 1)
KINDS = {"any_order": AnyOrderTransformer, "masked": MaskedTransformer, "gated": GatedPixelCNN}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of grids (2, 3, 1) of 4 levels, each a .keras file."""
    folder = tmp_path_factory.mktemp("models")
    for name, kind in KINDS.items():
        save_model(catalogue.prior(kind, GRID), folder / f"{name}.keras")
    return folder


def bulk(*arguments: Any) -> str:
    result = CliRunner().invoke(app, ["bulk", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_masked_priors_draw_in_a_few_iterations(models: Path, tmp_path: Path) -> None:
    out, ways = tmp_path / "drawn", ["--method", "maskgit", "--iterations", 2]
    bulk("sample", models / "masked.keras", "--num", 3, "--seed", 4, *ways, "--out", out)
    expected = load_prior(models / "masked.keras").sample(3, seed=4, method="maskgit", iterations=2)
    np.testing.assert_array_equal(samples_in(out)["values"], expected)


def test_any_order_priors_compress_along_an_order(models: Path, tmp_path: Path) -> None:
    prior = load_prior(models / "any_order.keras")
    images, out = values_of(prior, 5).astype("uint8"), tmp_path / "compressed"
    np.save(tmp_path / "images.npy", images)
    data = ["--data", tmp_path / "images.npy"]
    bulk("compress", models / "any_order.keras", *data, "--order", "halton", "--out", out)
    written = (out / "images-00000.tfp").read_bytes()
    assert read_header(written).order == 1
    np.testing.assert_array_equal(decompress(prior, written)[0], images)
    with pytest.raises(ValueError, match="GatedPixelCNN codes pixels in raster order alone and got order 1"):
        compress_job(models / "gated.keras", tmp_path / "images.npy", order="halton")


def test_ways_that_a_model_does_not_know_are_refused_before_work(models: Path, prior_bundle: Path) -> None:
    masked = models / "masked.keras"
    with pytest.raises(ValueError, match="method='sequential' draws one by one and got iterations=2"):
        sample_job(masked, 4, iterations=2)
    with pytest.raises(ValueError, match="Unknown sampling method 'cached' of MaskedTransformer"):
        sample_job(masked, 4, method="cached")
    with pytest.raises(
        ValueError, match="guidance=1 and this MaskedTransformer is unconditional; leave it out"
    ):
        sample_job(masked, 4, guidance=1)
    with pytest.raises(ValueError, match="method='loop' draws one by one and got iterations=2"):
        sample_job(prior_bundle, 4, iterations=2)
    with pytest.raises(ValueError, match="guidance=1 and the bundle's prior takes none; leave it out"):
        sample_job(prior_bundle, 4, guidance=1)
