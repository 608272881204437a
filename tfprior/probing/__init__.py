"""What encoders are worth: linear probes of their features, and fine-tuning, by accuracy on the test part."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "fine_tuning": ["fine_tune"],
        "fine_tuning_run": ["fine_tune_run"],
        "linear": ["linear_probe"],
        "options": ["FineTuningOptions"],
        "scoring": ["Probed", "accuracy_of", "features_of"],
    },
)
