"""The command line: what commands write and say, their errors in one sentence, and a run that was killed."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tfprior.cli import app, sentence, whole_path
from tfprior.data import load
from tfprior.training import baseline_bits, load_prior, load_run, split_of

COMMANDS = ("train", "evaluate", "sample", "complete", "export", "verify", "info")
TINY = ["--model", "pixel_cnn", "--filters", "4", "--layers", "1", "--batch-size", "8", "--no-xla"]


def run(*args: Any, code: int = 0) -> str:
    """Runs the command and gives what it printed: on stdout when it went well, on stderr when it did not."""
    result = CliRunner().invoke(app, [str(arg) for arg in args], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    if code:
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        return result.stderr
    return result.stdout


def rgb(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright images of class 1 and dark ones of class 0, 4 × 5 of 4 levels."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "made.npz"
    labels = {"y_train": np.arange(60) % 2, "y_test": np.arange(10) % 2}
    values = {
        f"x{name[1:]}": (rng.integers(2, size=(len(label), 4, 5, 1)) + 2 * label[:, None, None, None])
        for name, label in labels.items()
    }
    np.savez(path, **{name: value.astype("uint8") for name, value in values.items()}, **labels)
    return path


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    out = data.parent / "run"
    options = ["--epochs", 12, "--learning-rate", 0.02, "--conditional", "--ema", 0.5, "--levels", 4]
    printed = run("train", "--data", data, "--out", out, *TINY, *options)
    assert "epoch 12/12" in printed
    assert "this prior" in printed
    return out


@pytest.fixture(scope="module")
def bundle(trained: Path) -> Path:
    out = trained.parent / "bundle"
    printed = run("export", trained, out, "--format", "onnx")
    assert "onnx/step.onnx" in printed
    assert "state_out" in printed
    return out


# Help -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    assert f"tfprior {command} " in run(command, "--help")


def test_help_names_every_command() -> None:
    printed = run("--help")
    assert all(command in printed for command in COMMANDS)
    assert run("--version").startswith("tfprior ")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from tfprior.cli import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'numpy', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# Commands -------------------------------------------------------------------------------------------------


def test_train_fills_a_run_folder(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "best.keras", "last.keras", "metrics.csv", "curve.png", "samples.png"} <= names
    assert "Use it" in (trained / "model_card.md").read_text()
    config = load_run(trained).config
    assert config["model"]["conditional"] is True
    assert config["data"]["levels"] == 4
    assert config["data"]["grid_shape"] == [4, 5, 1]


@pytest.mark.parametrize("split", ["test", "train", "validation"])
def test_evaluate_prints_exact_bits_beside_the_baselines(trained: Path, data: Path, split: str) -> None:
    printed = run("evaluate", trained, "--split", split)
    assert f"made, {split} split" in printed
    assert "2.0000" in printed  # uniform over four levels
    if split != "test":
        folder = load_run(trained)
        images = load(data, num_levels=4)
        seen, _ = split_of(images, "train", folder.config["options"])
        assert len(seen) < len(images.x_train)
        values, labels = split_of(images, split, folder.config["options"])
        for number in baseline_bits(seen, values, 4).values():
            assert f"{number:.4f}" in printed
        return
    with np.load(data) as archive:
        values, labels, train = archive["x_test"], archive["y_test"], archive["x_train"]
    bits = float(np.mean(load_run(trained).load().bits_per_dim(values, labels)))
    assert f"{bits:.4f}" in printed
    assert bits < 1.3
    for name, number in baseline_bits(train, values, 4).items():
        assert name in printed
        assert f"{number:.4f}" in printed


def test_sample_draws_the_classes_asked_for(trained: Path, tmp_path: Path) -> None:
    picture, archive = tmp_path / "s.png", tmp_path / "s.npz"
    options = ["--class", 1, "--class", 0, "--num", 32, "--out", picture, "--npz", archive]
    run("sample", trained, *options)
    with np.load(archive) as saved:
        values, labels = saved["values"], saved["labels"]
    assert values.shape == (32, 4, 5, 1)
    assert values.dtype == np.int32
    np.testing.assert_array_equal(labels, np.repeat([1, 0], 16))
    assert values[:16].mean() > values[16:].mean() + 1  # the bright ones
    again = tmp_path / "again.npz"
    run("sample", trained / "best.keras", *options[:-1], again, "--method", "full")
    with np.load(again) as saved:
        np.testing.assert_array_equal(saved["values"], values)
    other = tmp_path / "other.npz"
    run("sample", trained, *options[:-1], other, "--seed", 1, "--temperature", 0.5, "--top-k", 2)
    with np.load(other) as saved:
        assert (saved["values"] != values).any()
    assert rgb(picture).max() == 255


def test_a_bundle_draws_what_its_run_draws(trained: Path, bundle: Path, tmp_path: Path) -> None:
    drawn = []
    for source in (trained, bundle):
        out = tmp_path / f"{source.name}.npz"
        printed = run("sample", source, "--seed", 3, "--out", tmp_path / "s.png", "--npz", out)
        assert "16 samples" in printed  # eight of each class
        with np.load(out) as saved:
            drawn.append(saved["values"])
    np.testing.assert_array_equal(*drawn)


def test_complete_keeps_what_was_given(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "c.png"
    printed = run("complete", trained, "--num", 3, "--completions", 2, "--keep", 0.5, "--out", out)
    assert "3 images, 2 completions each" in printed
    pixels = rgb(out)
    side, gap, header = 13 * 5, 3, 26
    original, completion = (
        pixels[header : header + 26, x : x + side] for x in (-gap - side, gap + side + 18)
    )
    np.testing.assert_array_equal(original, completion)


def test_pixelcnn_pp_goes_the_whole_way(data: Path, tmp_path: Path) -> None:
    folder, exported, picture = tmp_path / "run", tmp_path / "bundle", tmp_path / "samples.png"
    network = ["--model", "pixelcnn_pp", "--stages", 1, "--components", 2, "--filters", 4, "--layers", 1]
    options = ["--epochs", 2, "--batch-size", 8, "--flip", "--ema", 0.5, "--levels", 4, "--no-xla"]
    run("train", "--data", data, "--out", folder, *network, *options)
    prior = load_prior(folder / "best.keras")
    assert (prior.num_stages, prior.distribution.num_components) == (1, 2)
    assert not prior.needs_initialization
    assert "made, test split, 10 images" in run("evaluate", folder)
    run("sample", folder, "--num", 4, "--out", picture)
    assert rgb(picture).any()
    run("export", folder, exported, "--format", "onnx")
    assert "onnx step" in run("verify", exported)


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


# Errors ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        ("train", 2, "Missing option '--out'"),
        ("train --out {tmp}/new --model vae", 2, "gated_pixel_cnn"),
        ("train --out {tmp}/new --epochs 0", 2, "--epochs"),
        ("train --out {tmp}/new --ema 2", 1, "ema=2.0; expected a momentum between 0 and 1"),
        ("train --out {tmp}/new --data nonsense", 1, "'nonsense' is not a known data set"),
        ("train --out {tmp}/new --data {tmp}/missing.npz", 1, "does not exist"),
        ("train --out {tmp}/new --stages 2", 1, "gated_pixel_cnn has no option num_stages"),
        ("train --out {tmp}/new --components 5", 1, "5 components for a categorical output"),
        ("train --out {tmp}/new --data {data} --levels 4 --model pixelcnn_pp", 1, "divisible by 4"),
        ("train --out {run} --data {data}", 1, "holds a finished run (12 epochs"),
        ("evaluate {tmp}/missing", 1, "is no folder; expected the --out"),
        ("evaluate {tmp}", 1, "holds no config.json"),
        ("evaluate {run} --split all", 2, "--split"),
        ("evaluate {run} --data digits", 1, "has grids (8, 8, 1) of 17 levels; expected (4, 5, 1) of 4"),
        ("sample {run} --class 2", 2, "--class 2: expected a class in [0, 1]"),
        ("sample {run} --temperature 0", 1, "temperature=0.0; expected a positive number"),
        ("sample {run} --top-k 9", 1, "top_k=9"),
        ("sample {bundle} --top-k 2", 2, "--top-k: a bundle samples by temperature alone"),
        ("sample {bundle} --top-k 0", 2, "--top-k: a bundle samples by temperature alone"),
        (
            "sample {run} --npz {tmp}/out.txt --out {tmp}/s.png",
            2,
            "out.txt: expected a name that ends in .npz",
        ),
        ("sample {data}", 1, "does not end in .keras"),
        ("complete {run} --keep middle", 2, "keep='middle'"),
        ("complete {run} --num 0", 2, "--num"),
        ("export {run} {bundle}", 2, "pass --overwrite to replace it"),
        ("export {run} {tmp}/new --format pdf", 2, "saved_model"),
        ("verify {run}", 1, "is no bundle"),
        ("info {tmp}/missing", 1, "is no folder"),
        ("teach", 2, "No such command 'teach'"),
    ],
)
def test_errors_are_one_sentence(
    trained: Path, bundle: Path, data: Path, tmp_path: Path, args: str, code: int, words: str
) -> None:
    places = {"tmp": tmp_path, "run": trained, "bundle": bundle, "data": data}
    assert words in run(*(word.format(**places) for word in args.split()), code=code)
    assert not any(tmp_path.iterdir())


def test_an_unconditional_prior_takes_no_class(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    printed = run("train", "--data", data, "--out", out, *TINY, "--minutes", 1e-4, "--flip", "--levels", 4)
    assert "epoch 1 ·" in printed
    assert "--class: the prior is unconditional" in run("sample", out, "--class", 1, code=2)
    assert "64 samples" in run("sample", out, "--out", tmp_path / "s.png")


def test_debug_shows_the_error_itself(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--debug", "evaluate", str(tmp_path)])
    assert isinstance(result.exception, FileNotFoundError)


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


def test_a_damaged_run_is_told(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert "config.json is damaged" in run("info", tmp_path, code=1)
    (tmp_path / "config.json").write_bytes((trained / "config.json").read_bytes())
    (tmp_path / "best.keras").write_bytes((trained / "best.keras").read_bytes()[:1000])
    assert "best.keras is no readable .keras file" in run("evaluate", tmp_path, code=1)


def test_a_missing_package_is_named(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "tfprior.export.client", raising=False)
    printed = run("sample", bundle, "--out", tmp_path / "s.png", code=1)
    assert "onnxruntime is not installed; get it with: pip install" in printed


@pytest.mark.parametrize(
    ("module", "package"), [("PIL", "pillow"), ("sklearn", "tfprior"), ("tf_keras", "tfprior")]
)
def test_the_remedy_for_a_missing_module_is_its_package(module: str, package: str) -> None:
    printed = sentence(ModuleNotFoundError(f"No module named '{module}.x'", name=f"{module}.x"))
    assert printed == f"{module} is not installed; get it with: pip install '{package}'"


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


@pytest.mark.parametrize(
    ("command", "place", "words"),
    [
        ("train --out {tmp}/new", "tfprior.data.load", "Stopped; the same `tfprior train` command goes on"),
        ("evaluate {tmp}", "tfprior.training.load_run", "Stopped.\n"),
    ],
)
def test_what_is_stopped_says_how_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, place: str, words: str
) -> None:
    def interrupt(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(place, interrupt)
    assert words in run(*command.format(tmp=tmp_path).split(), code=1)


def test_what_exists_is_kept_as_a_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mine", "digits"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    mine = str((tmp_path / "mine").resolve())
    assert [whole_path(given) for given in ("mine", "./mine", "~/mine", mine)] == [mine] * 4
    assert [whole_path(given) for given in ("digits", "", "missing")] == ["digits", "", "missing"]
    assert whole_path("./digits") == str((tmp_path / "digits").resolve())


def test_unexpected_errors_say_what_they_are() -> None:
    assert sentence(KeyError("a\nb")) == "KeyError: 'a\\nb' (run again with --debug for the whole story)"
    missing = FileNotFoundError(2, "No such file or directory", "a.png")
    assert sentence(missing) == "a.png: No such file or directory."


# Resuming -------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_from_its_last_epoch(data: Path, tmp_path: Path) -> None:
    out, epochs = tmp_path / "run", 14
    code = "from tfprior.cli import main; main()"
    command = [sys.executable, "-c", code, "train", "--data", data, "--out", out, *TINY]
    command += ["--levels", "4", "--epochs", str(epochs), "--ema", "0.9"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for_epochs(process, out / "metrics.csv", 3)
        os.kill(process.pid, signal.SIGKILL)
    killed = epochs_in(out / "metrics.csv")
    assert process.returncode == -signal.SIGKILL
    assert 3 <= len(killed) < epochs
    assert load_run(out).result is None
    assert "unfinished" in run("info", out)
    load_run(out).load("last.keras")  # whole, whenever the process was killed

    again = subprocess.run(command, check=True, capture_output=True, text=True)
    done = next(int(line.split()[-1]) for line in again.stdout.splitlines() if "going on" in line)
    assert done in (len(killed), len(killed) - 1)
    assert f"epoch {done + 1}/{epochs}" in again.stdout
    assert f"epoch {done}/{epochs}" not in again.stdout
    rows = epochs_in(out / "metrics.csv")
    assert [int(row["epoch"]) for row in rows] == list(range(1, epochs + 1))
    assert rows[:done] == killed[:done]
    assert load_run(out).result is not None
    assert not [path.name for path in out.iterdir() if path.name.startswith((".", "resume"))]


def epochs_in(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def wait_for_epochs(process: subprocess.Popen[bytes], file: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if file.exists() and len(epochs_in(file)) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"{count} epochs did not come; the process is at {process.poll()}")
