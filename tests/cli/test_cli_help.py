"""What help says, and that it comes at once."""

import subprocess
import sys

import pytest
from command_line import COMMANDS, run


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
