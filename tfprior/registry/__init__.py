"""Every model by name: what it is, what its options are, and how it is built for a data set.

Importing this loads no Keras: the command line teaches a model's options before anything heavy is there.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "building": ["build_model", "build_prior", "build_tokenizer", "described", "output_distribution"],
        "declaration": ["Declaration", "Option", "declaration_of"],
        "models": ["MODELS", "Model", "register"],
    },
)
