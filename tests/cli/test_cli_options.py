"""Sentences of the library in the words of the command line, and classes by name."""

from types import SimpleNamespace

import numpy as np
import pytest

from tfprior.cli.classes import class_number, labels_of
from tfprior.cli.errors import WrongUsage, in_options


def option(name: str, *opts: str, off: str | None = None, flag: bool = False) -> SimpleNamespace:
    return SimpleNamespace(name=name, opts=list(opts), secondary_opts=[off] if off else [], is_flag=flag)


PARAMS = [
    SimpleNamespace(name="run", opts=["run"], secondary_opts=[], is_flag=False),
    option("temperature", "--temperature"),
    option("top_k", "--top-k"),
    option("top_p", "--top-p"),
    option("num_layers", "--layers"),
    option("levels", "--levels"),
    option("num", "--num"),
    option("decay", "--decay"),
    option("image_size", "--image-size"),
    option("conditional", "--conditional", off="--unconditional", flag=True),
    option("flip", "--flip", flag=True),
]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("temperature=0.0; expected a positive number.", "--temperature 0: expected a positive number."),
        ("top_p=1.5; expected one in (0, 1].", "--top-p 1.5: expected one in (0, 1]."),
        ("decay=None; expected a number.", "--decay none: expected a number."),
        ("GatedPixelCNN got num_layers=0; expected 1.", "--layers 0: expected 1."),
        (
            "Got a grid for num_layers=2; expected 1.",
            "Got a grid for --layers 2; expected 1.",
        ),
        ("Gaussian got top_k=2, top_p=0.5; leave them.", "--top-k 2, --top-p 0.5: leave them."),
        ("image_size=(3, 4) is no size; expected one.", "--image-size (3, 4) is no size; expected one."),
        (
            "temperature='a'; expected 1 (top_k=1 too).",
            "--temperature a: expected 1 (--top-k 1 too).",
        ),
        ("Train with --unconditional (conditional=False).", "Train with --unconditional."),
        ("Got flip=True and conditional=False.", "Got --flip and --unconditional."),
        (
            "x has more levels: pass num_levels=10 or more.",
            "x has more levels: pass --levels 10 or more.",
        ),
        ("num_samples=0; expected `temperature`.", "--num 0: expected --temperature."),
        # What no option of the command is, and names in paths, stay as they are.
        ("mask_type='C'; expected 'A'.", "mask_type='C'; expected 'A'."),
        ("runs/top_k=3/x is no folder.", "runs/top_k=3/x is no folder."),
        ("run=3; expected `run`.", "run=3; expected `run`."),
    ],
)
def test_sentences_name_options(said: str, shown: str) -> None:
    assert in_options(said, PARAMS) == shown


def test_classes_by_name_or_number() -> None:
    names = ["T-shirt", "trouser", "Bag", "bag", "2"]
    for word, number in (("trouser", 1), ("TROUSER", 1), ("t-shirt", 0), ("Bag", 2), ("bag", 3), ("1", 1)):
        assert class_number(word, 5, names) == number
    assert class_number("2", 5, names) == 4  # a name before a number
    assert class_number("2", 5, ()) == 2
    words = r"--class BAG: expected a class in \[0, 4\] or one of T-shirt, trouser, Bag, bag, 2\."
    with pytest.raises(WrongUsage, match=words):
        class_number("BAG", 5, names)
    for word in ("5", "-1", "1.0", "coat", ""):
        with pytest.raises(WrongUsage, match=r"expected a class in \[0, 4\]\."):
            class_number(word, 5, ())


def test_labels_are_as_even_as_their_number_allows() -> None:
    np.testing.assert_array_equal(labels_of(5, ["bag", "0"], 3, ["hat", "coat", "bag"]), [2, 2, 2, 0, 0])
    np.testing.assert_array_equal(labels_of(None, None, 3), np.repeat([0, 1, 2], 8))
    assert len(labels_of(None, None, 12)) == 80
    assert labels_of(4, None, None) is None
    with pytest.raises(WrongUsage, match="--class: the prior is unconditional; leave it out"):
        labels_of(4, ["1"], None)
