"""The registry of models: what it says of each is what its class says, and descriptions become models."""

import dataclasses
import inspect
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue import ABSTRACT

from tfprior import pretraining, priors, tokenizers
from tfprior.data import Images
from tfprior.distributions import Categorical, DiscretizedLogisticMixture
from tfprior.quantizers import VectorQuantizer
from tfprior.registry import MODELS, Model, Option, build_model, declaration_of, described, register
from tfprior.tokenizers import VQVAE

OF_PAIRS = {"EncoderDecoderTransformer"}
"""Learns from sources and targets, which no data of the command line has."""


def made(codes: bool = False) -> Images:
    rng = np.random.default_rng(0)
    x_train, x_test = (rng.integers(4, size=(count, 8, 4, 1)).astype("uint8") for count in (20, 10))
    return Images("made", x_train, np.arange(20) % 3, x_test, np.arange(10) % 3, 4, are_codes=codes)


def settable(kind: type) -> dict[str, tuple[type, Any, bool]]:
    """Arguments that words and numbers can set: (type, default, whether None is a value)."""
    function = kind if dataclasses.is_dataclass(kind) else kind.__init__
    hints = typing.get_type_hints(function)
    found = {}
    for name, parameter in inspect.signature(kind).parameters.items():
        hint = hints.get(name)
        options = [hint] if typing.get_origin(hint) is typing.Literal else typing.get_args(hint) or [hint]
        types = [str if typing.get_origin(one) is typing.Literal else one for one in options]
        (first, *others) = [one for one in types if one is not type(None)]
        if first in (bool, int, float, str) and not others:
            default = None if parameter.default is parameter.empty else parameter.default
            found[name] = (first, default, type(None) in types)
    return found


@pytest.mark.parametrize(
    "place",
    [
        *(model.place for model in MODELS.values()),
        "tfprior.quantizers.vector:VectorQuantizer",
        "tfprior.training.options:TrainingOptions",
    ],
)
def test_what_the_source_declares_is_what_the_constructor_takes(place: str) -> None:
    kind = Model("", place, "prior").load()
    declared = declaration_of(place).options
    assert {name: (one.kind, one.default, one.optional) for name, one in declared.items()} == settable(kind)
    assert list(declared) == list(settable(kind))
    for option in declared.values():
        assert option.help, f"{place} does not say what {option.name} is"
        assert "Raises" not in option.help


def test_choices_are_those_of_the_constructor() -> None:
    options = declaration_of("tfprior.quantizers.vector:VectorQuantizer").options
    assert options["metric"].choices == ("euclidean", "cosine")
    assert options["decay"] == Option("decay", float, 0.99, options["decay"].help, optional=True)
    assert options["decay"].help.startswith(
        "the codebook follows the mean of the vectors that chose each code,"
    )


def test_every_public_model_is_registered_once() -> None:
    for kind, package in (("prior", priors), ("tokenizer", tokenizers), ("encoder", pretraining)):
        known = [model.load() for model in MODELS.values() if model.kind == kind]
        public = {name for name in package.__all__ if inspect.isclass(getattr(package, name))}
        assert {one.__name__ for one in known} == public - ABSTRACT - OF_PAIRS
        assert len(known) == len(set(known))


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_the_options_of_all_its_parts(name: str) -> None:
    model = MODELS[name]
    declared = {*model.encoder_options, *model.declaration.options, *model.quantizer_options}
    named = declared - {"num_classes"} | ({"conditional"} if model.kind == "prior" else set())
    assert set(model.options) == named | (set() if model.kind == "encoder" else {"output", "num_components"})
    assert bool(model.quantizer_options) == (model.kind == "tokenizer")
    assert bool(model.encoder_options) == (model.kind == "encoder")
    assert set(model.defaults) <= declared
    assert {name: model.options[name].default for name in model.defaults} == model.defaults


def test_a_description_is_completed() -> None:
    short = described(made(), {"name": "pixelcnn_pp", "filters": 6})
    assert short == {
        "name": "pixelcnn_pp",
        "conditional": False,
        "filters": 6,
        "num_layers": 2,
        "num_stages": 3,
        "dropout": 0.0,
        "value_embedding_dim": None,
        "class_embedding_dim": 64,
        "condition_dropout": 0.0,
        "weight_norm": True,
        "output": "logistic_mixture",
        "num_components": 10,
    }
    assert described(made(), short) == short
    of_codes = described(made(codes=True), {"name": "pixelcnn_pp"})
    assert (of_codes["output"], of_codes["num_components"]) == ("categorical", None)
    assert of_codes["value_embedding_dim"] == 64
    plain = described(made(codes=True), {"name": "pixelcnn_pp", "value_embedding_dim": None})
    assert plain["value_embedding_dim"] is None


def test_descriptions_become_models() -> None:
    small = {"filters": 4, "num_layers": 1}
    prior = build_model(made(), {"name": "gated_pixel_cnn", **small, "conditional": True, "kernel_size": 5})
    assert (prior.num_classes, prior.kernel_size, prior.filters) == (3, 5, 4)
    assert isinstance(prior.distribution, Categorical)
    tokenizer = build_model(made(), {"name": "vq_vae", "filters": 4, "codebook_size": 6, "decay": None})
    assert isinstance(tokenizer, VQVAE)
    assert isinstance(tokenizer.distribution, DiscretizedLogisticMixture)
    assert isinstance(tokenizer.quantizer, VectorQuantizer)
    assert (tokenizer.quantizer.codebook_size, tokenizer.quantizer.decay) == (6, None)
    assert tokenizer.quantizer.code_dim == 64


def test_names_are_taken_once() -> None:
    known = MODELS["pixel_cnn"]
    register(known)
    with pytest.raises(
        ValueError, match=r"The name pixel_cnn is that of tfprior\.priors\.pixel_cnn:PixelCNN; choose"
    ):
        register(Model("pixel_cnn", "elsewhere:Other", "prior"))
    assert MODELS["pixel_cnn"] is known


def test_places_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"pixel_cnn:Pixels names no class of .*; expected module:Class"):
        declaration_of("tfprior.priors.pixel_cnn:Pixels")
    with pytest.raises(ImportError, match="no source of the module nowhere_to_be_found"):
        declaration_of("nowhere_to_be_found:Prior")


def test_a_declaration_is_read_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_model.py").write_text(
        '"""Some model (Somebody 2020, arXiv:0).\n\nMore."""\n'
        "raise RuntimeError\n"
        "class Some(Base):\n"
        '    """It does\n    something.\n\n    Args:\n        size: how\n            large.\n'
        "        way: up or down.\n        share, on: as told.\n\n"
        '    Raises:\n        ValueError: never.\n    """\n'
        "    def __init__(self, shape: tuple[int, int], size: int,\n"
        "                 way: Literal['up', 'down'] | None = None, *,\n"
        "                 share: float | str = 1.0, on: bool = True, place: Quantizer = None, **kwargs):\n"
        "        pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = declaration_of("some_model:Some")
    assert found.title == "Some model (Somebody 2020, arXiv:0)."
    assert found.summary == "It does something."
    assert list(found.options.values()) == [
        Option("size", int, None, "how large."),
        Option("way", str, None, "up or down.", optional=True, choices=("up", "down")),
        Option("on", bool, True, "as told."),
    ]
    assert found.quantizers == ("place",)
