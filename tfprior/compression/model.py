"""What a prior of images and a generator have in common."""

from tfprior.generator import Generator
from tfprior.priors.base import Prior
from tfprior.tokenizers.base import Tokenizer

Model = Prior | Generator


def first_prior(model: Model) -> Prior:
    """The one whose condition is the model's."""
    return model.priors[0] if isinstance(model, Generator) else model


def parts(model: Model) -> list[Prior | Tokenizer]:
    """All that has weights."""
    return [model.tokenizer, *model.priors] if isinstance(model, Generator) else [model]
