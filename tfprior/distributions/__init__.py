"""Output distributions: what the parameters of one pixel mean."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["OutputDistribution"],
        "categorical": ["Categorical"],
        "discretized_logistic": ["DiscretizedLogistic", "DiscretizedLogisticMixture"],
        "gaussian": ["Gaussian"],
        "options": ["SamplingOptions"],
    },
)
