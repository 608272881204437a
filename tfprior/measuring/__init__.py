"""How good a model is: likelihoods, baselines to beat, and what an image is unlike."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["baseline_bits"],
        "likelihood": ["bits_per_dim", "bound_scores", "scores_of"],
        "outliers": ["OutlierScores", "auroc", "log_likelihood", "outlier_scores"],
    },
)
