"""Training: a run from a data set to a folder of results, which goes on after an interruption."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "exact_resume": ["ExactResume"],
        "workers": ["strategy_named"],
        "trainer": ["TrainingOptions", "train"],
    },
)
