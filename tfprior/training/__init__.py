"""Training: callbacks for `fit`, and runs from a data set to a folder of results.

A run goes on after an interruption.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "anneal_to_raster": ["AnnealToRaster"],
        "exact_resume": ["ExactResume"],
        "images_per_second": ["ImagesPerSecond"],
        "inverse_square_root": ["InverseSquareRoot"],
        "layer_decay": ["LayerDecay", "LayerDecayAdamW", "layer_depths"],
        "options": ["TrainingOptions"],
        "picture_logger": ["PictureLogger"],
        "workers": ["strategy_named"],
        "trainer": ["train"],
    },
)
