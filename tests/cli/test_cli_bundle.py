"""`tfprior export`, `verify` and `info`."""

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import rgb, run

from tfprior.runs import load_prior


def test_verify_and_info_describe_a_bundle(bundle: Path) -> None:
    assert "onnx step" in run("verify", bundle)
    printed = run("info", bundle)
    assert "4 × 5 × 1, 4 levels" in printed
    assert "uniforms float32" in printed


def test_info_describes_runs_and_files(trained: Path) -> None:
    printed = run("info", trained)
    assert "finished" in printed
    assert "pixel_cnn" in printed
    parameters = load_prior(trained / "best.keras").count_params()
    assert f"{parameters:,}" in run("info", trained / "best.keras")


def test_info_describes_tokenizers_and_priors_of_codes(tokenizer: Path, of_codes: Path) -> None:
    printed = run("info", tokenizer)
    assert "vq_vae" in printed
    assert "8 × 4 × 1, 4 levels" in printed
    printed = run("info", of_codes)
    assert "4 × 2 × 1, 6 codes" in printed
    assert "validation bits/code" in printed
    assert str(tokenizer) in printed.replace("\n", "")
    printed = run("info", tokenizer / "best.keras")
    assert "VQVAE" in printed
    assert "4 × 2 × 1, 6 codes" in printed


def test_a_prior_of_codes_is_exported_with_its_tokenizer(of_codes: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    printed = run("export", of_codes, bundle, "--format", "onnx")
    assert all(f"function {name}" in printed for name in ("encode", "decode", "generate", "step"))
    assert "onnx generate" in run("verify", bundle)
    assert "images" in run("info", bundle)
    for source in (of_codes, bundle):
        run("sample", source, "--num", 4, "--seed", 3, "--out", tmp_path / f"{source.name}.png")
    difference = rgb(tmp_path / f"{of_codes.name}.png").astype(int) - rgb(tmp_path / "bundle.png")
    assert (difference != 0).mean() < 0.01  # an expectation halfway between two levels


def test_a_changed_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for file in sorted(bundle.rglob("*")):
        target = copy / file.relative_to(bundle)
        if file.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    step = copy / "onnx" / "step.onnx"
    step.write_bytes(step.read_bytes()[:-1] + b"!")
    assert "step.onnx" in run("verify", copy, code=1)
    run("sample", copy, "--out", tmp_path / "s.png", code=1)
    assert not (tmp_path / "s.png").exists()


def test_a_missing_package_is_named(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for name in [name for name in sys.modules if name.startswith("tfprior.export.")]:
        monkeypatch.delitem(sys.modules, name)
    printed = run("sample", bundle, "--out", tmp_path / "s.png", code=1)
    assert "onnxruntime is not installed; get it with: pip install" in printed


def test_onnx_is_verified_without_keras(bundle: Path) -> None:
    code = (
        "import importlib.util, sys\n"
        "find_spec = importlib.util.find_spec\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('keras', 'tensorflow'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "def absent(name, package=None):\n"
        "    return None if name in ('keras', 'tensorflow') else find_spec(name, package)\n"
        "sys.meta_path.insert(0, Missing())\n"
        "importlib.util.find_spec = absent\n"
        "from tfprior.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", bundle], check=True, capture_output=True, text=True
    )
    assert "onnx step" in done.stdout
