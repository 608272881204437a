"""Training runs on disk: the folder, the models in it, and opening them again."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "model_file": ["load_model", "save_model"],
        "opening": [
            "PretrainedEncoder",
            "load_encoder",
            "load_generator",
            "load_image_model",
            "load_prior",
            "load_tokenizer",
        ],
        "run_folder": ["RunFolder", "load_run"],
    },
)
