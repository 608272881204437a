"""Imports point down only, the core knows no TensorFlow, and the package list is the folders."""

import ast
import configparser
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [
    {
        "__init__",
        "atomic",
        "backend_noise",
        "orders",
        "philox",
        "compilation",
        "condition_kind",
        "feeding",
        "fitting",
        "float32_copies",
        "grid_model",
        "hidden_pixels",
        "image_files",
        "image_model",
        "inputs",
        "loss_scaling",
        "mean_of_sums",
        "once_a_step",
        "own_loss",
        "progress",
        "range_checks",
        "registration",
        "resumable_dataset",
        "score",
        "sharding",
        "stepping",
        "unmasking",
    }
    | {"pictures", "replicas"},
    {"layers", "quantizers", "distributions", "data"},
    {"priors", "tokenizers", "encoders"},
    {"sampling", "pretraining"},
    {"generator", "labelled_images", "masked_images", "registry"},
    {"compression", "measuring", "runs"},
    {"training", "probing", "serving", "export", "bulk"},
    {"cli"},
]
HANDED_ON = {("priors", "sampling")}
"""`prior.sample` is `sampling.sample`, for those who have the prior at hand: imported when it is called."""
STRANGERS = {("priors", "tokenizers"), ("encoders", "priors"), ("sampling", "training"), ("data", "layers")}
TFP = Path("tfprior", "distributions", "tfp.py")
CORE = {"layers", "quantizers", "distributions", "priors", "tokenizers", "encoders"}
CORE |= {"pretraining", "sampling", "generator", "registry", "compression", "measuring", "runs"}
FILES = {
    **{path.relative_to(ROOT): path for path in ROOT.glob("tfprior/**/*.py")},
    **{Path("tfprior", path.relative_to(ROOT)): path for path in ROOT.glob("export/**/*.py")},
}


def part(name: str) -> str:
    """The package or module of tfprior that a dotted name belongs to."""
    return name.split(".")[1] if "." in name else ""


def module_of(file: Path) -> str:
    return ".".join(file.with_suffix("").parts)


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) that the file imports, wherever the import stands."""
    for node in ast.walk(ast.parse(FILES[file].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = file.parts[: len(file.parts) - node.level] if node.level else ()
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield from ((module, alias.name) for alias in node.names)


def roots(file: Path) -> set[str]:
    """The top-level packages that the file imports."""
    return {module.split(".")[0] for module, _ in imports(file)}


def own_imports(file: Path) -> Iterator[tuple[str, str]]:
    """Those from tfprior, as (part, name)."""
    for module, name in imports(file):
        if module == "tfprior" and name not in ("", "__version__"):
            yield name, ""
        elif module.startswith("tfprior."):
            yield part(module), name


def floor(name: str) -> int:
    floors = [index for index, names in enumerate(FLOORS) if name in names]
    assert floors, f"tfprior.{name} has no floor yet: give it one in FLOORS and in the design"
    return floors[0]


@pytest.mark.parametrize("file", sorted(FILES), ids=str)
def test_imports_point_down_only(file: Path) -> None:
    here = part(module_of(file))
    for there, _ in own_imports(file):
        below = floor(there) <= floor(here) or (here, there) in HANDED_ON
        assert below, f"{file} imports tfprior.{there} from above"
        assert (here, there) not in STRANGERS, f"{file} imports tfprior.{there}"


@pytest.mark.parametrize("file", sorted(file for file in FILES if part(module_of(file)) in CORE), ids=str)
def test_the_core_imports_no_backend(file: Path) -> None:
    allowed = {"tensorflow"} if file == TFP else set()
    assert not roots(file) & {"tensorflow", "jax", "torch"} - allowed


def test_one_file_knows_tensorflow_probability() -> None:
    assert {file for file in FILES if "tensorflow_probability" in roots(file)} == {TFP}


@pytest.mark.parametrize("file", sorted(file for file in FILES if part(module_of(file)) == "export"), ids=str)
def test_export_uses_public_names_only(file: Path) -> None:
    for there, name in own_imports(file):
        if there in {"data", "distributions", "layers", "priors", "training"}:
            assert name in importlib.import_module(f"tfprior.{there}").__all__, f"{there}: {name}"
        assert not name.startswith("_")


def loaded_by(statement: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `statement`."""
    program = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "package",
    ["", ".layers", ".priors", ".encoders", ".pretraining", ".distributions", ".compression", ".registry"],
)
def test_import_is_light(package: str) -> None:
    heavy = {"numpy", "keras", "tensorflow", "jax", "torch", "onnx", "onnxruntime", "sklearn", "PIL", "rich"}
    assert not heavy & loaded_by(f"import tfprior{package}")


def test_the_client_needs_numpy_and_onnxruntime_alone() -> None:
    strangers = {"keras", "tensorflow", "tf2onnx", "onnx", "lazy_loader", "rich", "PIL", "sklearn", "typer"}
    assert not strangers & loaded_by("import tfprior.export.client")


def test_the_server_needs_no_keras() -> None:
    strangers = {"keras", "tensorflow", "tf2onnx", "onnx", "sklearn", "matplotlib"}
    assert not strangers & loaded_by("import tfprior.serving.app, tfprior.cli")


def test_setup_lists_every_package() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    folders = {".".join(file.parent.parts) for file in FILES if file.name == "__init__.py"}
    assert setup["options"]["packages"].split() == sorted(folders)
