"""Encoders: images of floats in, features out. Plain Keras; they know no prior."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "base": ["Encoder"],
        "classifier": ["Classifier"],
        "swin": ["Swin"],
        "vit": ["ViT"],
        "weights_files": ["load_safetensors", "save_safetensors"],
    },
)
