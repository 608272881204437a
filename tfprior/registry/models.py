"""The models by name; a line for each."""

import importlib
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from tfprior.registry.declaration import Declaration, Option, declaration_of

OUTPUTS = ("categorical", "logistic", "logistic_mixture", "gaussian")
QUANTIZER = "tfprior.quantizers.vector:VectorQuantizer"
ENCODER = "tfprior.registry.encoders:EncoderSizes"
CLASSES = "num_classes"  # which the data tell, where the model is conditional


@dataclass(frozen=True)
class Model:
    """A model that can be trained by name.

    Attributes:
        name: as users write it.
        place: of its class, as "module:Class".
        kind: "prior", "tokenizer", or "encoder" of what pre-trains one.
        output: its distribution where the levels have an order; of codes it is always categorical.
        defaults: of options, where they are not the constructor's.
    """

    name: str
    place: str
    kind: Literal["prior", "tokenizer", "encoder"]
    output: str = "categorical"
    defaults: dict[str, Any] = field(default_factory=dict)

    @property
    def declaration(self) -> Declaration:
        return declaration_of(self.place)

    @property
    def title(self) -> str:
        """What it is called, and where it was published."""
        return re.sub(r', "[^"]*"', "", self.declaration.title).removesuffix(".")

    @property
    def options(self) -> dict[str, Option]:
        """What a description of it may hold, by name: the output's, the constructor's and its parts'.

        Defaults that depend on the data are None.
        """
        declared = {**self.encoder_options, **self.declaration.options, **self.quantizer_options}
        takes_classes = declared.pop(CLASSES, None) is not None
        of_network = {
            name: option._replace(default=self.defaults.get(name, option.default))
            for name, option in declared.items()
        }
        output = {} if self.kind == "encoder" else OUTPUT
        return {**(CONDITION if takes_classes else {}), **of_network, **output}

    @property
    def quantizer_options(self) -> dict[str, Option]:
        """Those of its codebook; none where it has none."""
        return declaration_of(QUANTIZER).options if self.declaration.quantizers else {}

    @property
    def encoder_options(self) -> dict[str, Option]:
        """Those of the encoder that it trains; none where it trains none."""
        return declaration_of(ENCODER).options if self.kind == "encoder" else {}

    @property
    def class_name(self) -> str:
        return self.place.partition(":")[2]

    def load(self) -> Any:
        """Its class, which imports Keras."""
        return getattr(importlib.import_module(self.place.partition(":")[0]), self.class_name)


CONDITION = {"conditional": Option("conditional", bool, False, "learn images given their class.")}
OUTPUT = {
    "output": Option("output", str, None, "what the network gives for a pixel.", choices=OUTPUTS),
    "num_components": Option("num_components", int, None, "components of a logistic mixture; 10."),
}

MODELS: dict[str, Model] = {}


def register(model: Model) -> None:
    """Makes a model known by its name to the command line, to runs and to bundles.

    Raises:
        ValueError: for a name that another model has.
    """
    known = MODELS.setdefault(model.name, model)
    if known != model:
        raise ValueError(f"The name {model.name} is that of {known.place}; choose another for {model.place}.")


def model_named(name: Any) -> Model:
    """The model of that name.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in MODELS:
        raise ValueError(f"Unknown model {name!r}; expected one of {', '.join(MODELS)}.")
    return MODELS[name]


# Defaults are for the first hour on a few cores; the constructors have those of the papers.
SMALL = {"filters": 64, "num_layers": 8}
SMALL_PP = {"filters": 64, "num_layers": 2, "dropout": 0.0}
SMALL_TRANSFORMER = {"num_layers": 6, "num_heads": 4, "hidden_dim": 128}
# The mixture of vq_vae: on digits it needs fewer bits than one logistic or a categorical, in as much time,
# and its mean, which codes decode to, is as close to the images.
CODEBOOK = {"codebook_size": 512, "code_dim": 64}

register(Model("gated_pixel_cnn", "tfprior.priors.gated_pixel_cnn:GatedPixelCNN", "prior", defaults=SMALL))
register(Model("pixel_cnn", "tfprior.priors.pixel_cnn:PixelCNN", "prior", defaults=SMALL))
register(Model("pixelcnn_pp", "tfprior.priors.pixelcnn_pp:PixelCNNPP", "prior", "logistic_mixture", SMALL_PP))
register(
    Model(
        "causal_transformer",
        "tfprior.priors.causal_transformer:CausalTransformer",
        "prior",
        defaults=SMALL_TRANSFORMER,
    )
)
register(
    Model(
        "any_order_transformer",
        "tfprior.priors.any_order_transformer:AnyOrderTransformer",
        "prior",
        defaults=SMALL_TRANSFORMER,
    )
)
register(
    Model(
        "masked_transformer",
        "tfprior.priors.masked_transformer:MaskedTransformer",
        "prior",
        defaults=SMALL_TRANSFORMER,
    )
)
register(Model("vq_vae", "tfprior.tokenizers.vq_vae:VQVAE", "tokenizer", "logistic_mixture", CODEBOOK))
register(Model("vq_vae_2", "tfprior.tokenizers.vq_vae_2:VQVAE2", "tokenizer", "logistic_mixture", CODEBOOK))
register(Model("mae", "tfprior.pretraining.mae:MAE", "encoder"))
register(Model("simmim", "tfprior.pretraining.simmim:SimMIM", "encoder", defaults={"encoder": "swin"}))
register(Model("greenmim", "tfprior.pretraining.greenmim:GreenMIM", "encoder", defaults={"encoder": "swin"}))
