"""Training runs: a folder that resumes, the baselines to beat, and pictures of what was learned."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "baselines": ["baseline_bits"],
        "building": ["build_model", "build_prior", "build_tokenizer"],
        "codebook_usage": ["save_codebook_usage"],
        "curve": ["save_curve"],
        "evaluation": ["bits_per_dim", "bound_scores", "scores_of", "split_of"],
        "heat_map": ["save_heat_maps"],
        "opening": ["load_generator", "load_prior", "load_tokenizer"],
        "pictures": ["save_completions", "save_grid", "save_reconstructions"],
        "run_folder": ["RunFolder", "load_run"],
        "trainer": ["TrainingOptions", "train"],
    },
)
