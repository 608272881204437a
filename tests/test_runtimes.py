"""Bundles in the runtimes that somebody asks for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import tfprior.export
from tfprior.cli import app
from tfprior.export.checks import BundleError
from tfprior.export.runtimes import RUNTIMES


def test_runtimes_that_cannot_be_asked_are_named(prior_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"Unknown runtimes \['tpu'\]; expected some of onnx, saved_model"):
        tfprior.export.verify(prior_bundle, runtimes=["onnx", "tpu"])
    with pytest.raises(BundleError, match="holds no litert functions for LiteRT; export it again with that"):
        tfprior.export.verify(prior_bundle, runtimes="litert")
    missing = RUNTIMES["openvino"]._replace(module="no_such_module")
    monkeypatch.setitem(RUNTIMES, "openvino", missing)
    said = "not replayed: OpenVINO is not installed (pip install 'tfprior[openvino]')"
    assert tfprior.export.verify(prior_bundle, runtimes="openvino")["openvino"] == said


def test_the_command_shows_every_runtime_of_a_bundle(prior_bundle: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(prior_bundle), "--runtimes", "all"])
    assert result.exit_code == 0, result.output
    assert "OpenVINO" in result.output
    assert "LiteRT" not in result.output  # which it holds no functions for
    refused = CliRunner().invoke(app, ["verify", str(prior_bundle), "--runtimes", "all", "--onnx-only"])
    assert refused.exit_code != 0
