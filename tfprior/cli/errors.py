"""Errors as one sentence each, which names options where Python names arguments."""

import re
from collections.abc import Iterable
from typing import Any

from tfprior.atomic import finished_name


class WrongUsage(Exception):
    """The command was used wrongly: one sentence that names the option."""

    def format_message(self) -> str:
        return str(self)


EXTRAS = {
    "onnxruntime": "onnxruntime",
    "PIL": "pillow",
    "tensorflow": "tfprior",
    "keras": "tfprior",
    "tf2onnx": "tfprior",
    "onnx": "tfprior",
    "sklearn": "tfprior",
    "tf_keras": "tfprior",
    "tensorboard": "tfprior[tensorboard]",
    "constriction": "tfprior[compress]",
    "distributed": "tfprior[bulk]",
    "dask": "tfprior[bulk]",
    "fastapi": "tfprior[serve]",
    "grpc": "grpcio",
    "prometheus_client": "tfprior[serve]",
    "uvicorn": "tfprior[serve]",
}


def sentence(error: Exception) -> str:
    """An error in one line: its message where tfprior or the system wrote it, its kind too where not."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS:
        package = (error.name or "").split(".")[0]
        return f"{package} is not installed; get it with: pip install '{EXTRAS[package]}'"
    words = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{finished_name(str(error.filename))}: {error.strerror}."
    if isinstance(error, ValueError | OSError | ArithmeticError | ImportError) and words:
        return words
    return f"{type(error).__name__}: {words[:300]} (run again with --debug for the whole story)"


# What the library calls otherwise than the commands do.
ARGUMENTS = {"num_levels": "levels", "num_samples": "num"}
ONE = r"--[\w-]+(?: (?:\([^()]*\)|[^\s,;:]+))?"
GIVEN = r"('[^']*'|\"[^\"]*\"|\([^()]*\)|[^\s,;:()]*[^\s,;:().])"


def in_options(message: str, params: Iterable[Any]) -> str:
    """The message in the words of the command line: "top_k=9; expected …" → "--top-k 9: expected …".

    Args:
        message: of an error of the library.
        params: of the command, which are all that is renamed.
    """
    by_name = {param.name: param for param in params if param.opts[0].startswith("--")}
    by_name |= {ours: by_name[theirs] for ours, theirs in ARGUMENTS.items() if theirs in by_name}

    def renamed(match: re.Match[str]) -> str:
        param = by_name.get(match[1])
        return match[0] if param is None else written(param, match[2])

    def beside_its_option(match: re.Match[str]) -> str:
        return "" if match[1] in by_name else match[0]

    def named(match: re.Match[str]) -> str:
        param = by_name.get(match[1])
        return match[0] if param is None else str(param.opts[0])

    message = re.sub(r"(?<=\S) \((\w+)=[^()\s]+\)", beside_its_option, message)
    message = re.sub(rf"(?<![\w./=-])(\w+)={GIVEN}", renamed, message)
    message = re.sub(r"`(\w+)`", named, message)
    message = re.sub(r"^\w+ got (?=--)", "", message)
    return re.sub(rf"^({ONE}(?:, {ONE})*); ", r"\1: ", message)


def written(param: Any, value: str) -> str:
    """An option and its value as one writes them."""
    if value in ("True", "False") and getattr(param, "is_flag", False):
        off = [*param.secondary_opts, f"no {param.opts[0]}"][0]
        return str(param.opts[0] if value == "True" else off)
    value = re.sub(r"(?<=\d)\.0$", "", value.strip("'\""))
    return f"{param.opts[0]} {'none' if value == 'None' else value}".rstrip()
