"""What a class says of its arguments: names, types, defaults, and the words of its docstring.

Read from the source and not from the class, so that help appears without importing Keras.
"""

import ast
import functools
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

KINDS: dict[str, type] = {"bool": bool, "int": int, "float": float, "str": str}


class Option(NamedTuple):
    """An argument that words and numbers can set.

    Attributes:
        name: of the argument.
        kind: bool, int, float or str.
        default: None where there is none.
        help: what the docstring says of it, in one line.
        optional: whether None is a value of it.
        choices: the only values, where it is a Literal.
    """

    name: str
    kind: type
    default: Any
    help: str
    optional: bool = False
    choices: tuple[str, ...] = ()


class Declaration(NamedTuple):
    """What a class declares.

    Attributes:
        title: first line of its module's docstring.
        summary: first paragraph of its own docstring.
        options: by name, in their order.
        quantizers: names of its arguments that are quantizers.
    """

    title: str
    summary: str
    options: dict[str, Option]
    quantizers: tuple[str, ...]


@functools.cache
def declaration_of(place: str) -> Declaration:
    """The declaration of a class, given as "module:Class".

    The arguments are those of its constructor, or the fields of a dataclass. Those of other types than bool,
    int, float, str, a Literal of words, or one of them or None, are no options.

    Raises:
        ImportError: where there is no such module, or no source of it.
        ValueError: where the module has no such class.
    """
    module, _, name = place.partition(":")
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ImportError(f"There is no source of the module {module}, which {place} names.")
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not found:
        raise ValueError(f"{place} names no class of {spec.origin}; expected module:Class.")
    docstring = ast.get_docstring(found[0]) or ""
    words = words_for_arguments(docstring)
    arguments = list(arguments_of(found[0]))
    options = (
        option(argument, annotation, default, words.get(argument, ""))
        for argument, annotation, default in arguments
    )
    return Declaration(
        (ast.get_docstring(tree) or "").split("\n")[0],
        " ".join(docstring.split("\n\n")[0].split()),
        {one.name: one for one in options if one is not None},
        tuple(argument for argument, annotation, _ in arguments if annotation == "Quantizer"),
    )


def arguments_of(node: ast.ClassDef) -> Iterator[tuple[str, str, Any]]:
    """(name, annotation, default) of each."""
    for part in node.body:
        if isinstance(part, ast.FunctionDef) and part.name == "__init__":
            names = [*part.args.args[1:], *part.args.kwonlyargs]
            missing: list[Any] = [None] * (len(part.args.args) - 1 - len(part.args.defaults))
            defaults = [*missing, *part.args.defaults, *part.args.kw_defaults]
            for name, default in zip(names, defaults, strict=True):
                yield name.arg, written(name.annotation), value_of(default)
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id, written(part.annotation), value_of(part.value)


def written(annotation: ast.expr | None) -> str:
    return "" if annotation is None else ast.unparse(annotation)


def value_of(default: ast.expr | None) -> Any:
    try:
        return None if default is None else ast.literal_eval(default)
    except ValueError:  # an object, which no word stands for
        return None


def option(name: str, annotation: str, default: Any, words: str) -> Option | None:
    kinds = annotation.split(" | ")
    optional = "None" in kinds
    (kind, *others) = [kind for kind in kinds if kind != "None"] or [""]
    choices: tuple[str, ...] = ()
    if kind.startswith("Literal["):
        choices, kind = ast.literal_eval(f"({kind[8:-1]},)"), "str"
    if others or kind not in KINDS:
        return None
    return Option(name, KINDS[kind], default, words, optional, choices)


def words_for_arguments(docstring: str) -> dict[str, str]:
    """What stands under Args in a docstring, by argument; those that stand together have the same words."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", inspect.cleandoc(docstring), re.MULTILINE)
    if section is None:
        return {}
    parts = re.split(r"^    (\w+(?:, \w+)*): ", section[1], flags=re.MULTILINE)[1:]
    return {
        name: " ".join(text.split())
        for names, text in zip(parts[::2], parts[1::2], strict=True)
        for name in names.split(", ")
    }
