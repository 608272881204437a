"""The classes that `--class` names, by number or by name, and a label for each sample."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tfprior.cli.errors import WrongUsage

if TYPE_CHECKING:
    import numpy as np


def labels_of(
    num: int | None, classes: Sequence[str] | None, num_classes: int | None, names: Sequence[str] = ()
) -> "np.ndarray | None":
    """A label for each sample: the classes asked for (all by default), as evenly as `num` allows.

    Raises:
        WrongUsage: for a class that there is not.
    """
    import numpy as np

    asked = chosen_classes(classes, num_classes, names)
    if num_classes is None:
        return None
    chosen = np.asarray(asked or range(min(num_classes, 10) if num is None else num_classes), "int32")
    count = 8 * len(chosen) if num is None else num
    return chosen[np.arange(count) * len(chosen) // count]


def chosen_classes(
    classes: Sequence[str] | None, num_classes: int | None, names: Sequence[str] = ()
) -> list[int]:
    """The numbers of the classes asked for.

    Raises:
        WrongUsage: for a class that there is not.
    """
    if classes and num_classes is None:
        raise WrongUsage("--class: the prior is unconditional; leave it out, or train with --conditional.")
    return [class_number(word, num_classes or 0, names) for word in classes or ()]


def class_number(word: str, num_classes: int, names: Sequence[str]) -> int:
    """The class of that name, in upper or lower case, else of that number.

    Raises:
        WrongUsage: where there is none.
    """
    lower = [name.casefold() for name in names]
    if word in names or lower.count(word.casefold()) == 1:
        return names.index(word) if word in names else lower.index(word.casefold())
    if word.isdecimal() and int(word) < num_classes:
        return int(word)
    by_name = f" or one of {', '.join(names)}" if names else ""
    raise WrongUsage(f"--class {word}: expected a class in [0, {num_classes - 1}]{by_name}.")


def amount(num: int | None, labels: "np.ndarray | None") -> int:
    return len(labels) if labels is not None else num or 64
