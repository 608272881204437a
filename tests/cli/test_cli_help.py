"""What help says, and that it comes at once."""

import subprocess
import sys

import pytest
from command_line import COMMANDS, run

from tfprior.cli.declared_options import spellings, training_options
from tfprior.registry import MODELS, Model

HEAVY = {"tensorflow", "keras", "numpy", "PIL", "onnx", "onnxruntime", "sklearn"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_with_an_example(command: str) -> None:
    assert f"tfprior {command} " in run(command, "--help")


def test_help_names_every_command() -> None:
    printed = run("--help")
    places = [printed.index(f"│ {command} ") for command in COMMANDS]
    assert places == sorted(places)
    assert run("--version").startswith("tfprior ")


def command_of(model: Model) -> str:
    return "pretrain" if model.kind == "encoder" else "train"


@pytest.mark.parametrize("command", ["train", "pretrain"])
def test_help_of_train_names_the_models_and_what_they_share(command: str) -> None:
    printed = run(command, "--help")
    assert f"{command} [MODEL] [OPTIONS]" in printed
    for model in MODELS.values():
        assert (f"│ {model.name} " in printed) == (command_of(model) == command)
        assert (model.title in printed) == (command_of(model) == command)
    for option in training_options().values():
        assert f"{spellings(option)[0]} " in printed
    for words in ("--out ", "[required]", "--data ", "20, or as many as fit where --minutes is given"):
        assert words in printed
    assert "--filters" not in printed
    # Help changes nothing of what comes after it.
    assert "Missing option '--out'" in run(command, code=2)


@pytest.mark.parametrize("name", MODELS)
def test_help_of_a_model_teaches_its_own_options(name: str) -> None:
    model, command = MODELS[name], command_of(MODELS[name])
    printed = run(command, name, "--help")
    assert f"tfprior {command} {name} --data " in printed
    assert model.title in printed
    assert model.declaration.summary in printed
    words = " ".join(printed.replace("│", " ").split())
    names = [spellings(option)[0] for option in (*model.options.values(), *training_options().values())]
    assert len(set(names)) == len(names)
    for option in model.options.values():
        assert f" {spellings(option)[0]} " in words
        if isinstance(option.default, int | float) and option.kind is not bool:
            assert f"[default: {option.default}]" in words
    network = words.split("Network")[1]
    for other in MODELS.values():
        for option in other.options.values():
            assert option.name in model.options or f" {spellings(option)[0]} " not in network


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "vq_vae", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys; from tfprior.cli import app\n"
        f"try: app({arguments})\n"
        "except SystemExit: pass\n"
        f"assert not {HEAVY} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
