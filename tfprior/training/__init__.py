"""Training runs: a folder that resumes, the baselines to beat, and pictures of what was learned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["baseline_bits"],
        "curve": ["save_curve"],
        "evaluation": ["bits_per_dim", "split_of"],
        "pictures": ["save_completions", "save_grid"],
        "run_folder": ["RunFolder", "load_prior", "load_run"],
        "trainer": ["TrainingOptions", "build_prior", "train"],
    },
)
