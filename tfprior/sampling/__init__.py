"""Sampling a prior: every exact method draws the same integers from the same uniforms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "beam_search": ["Beams", "beam_search"],
        "draw": ["Method", "sample", "sample_parallel", "sample_rows"],
        "decoding": ["Halton", "MaskGIT", "sequential"],
        "loops": ["cached", "full", "parallel_rows", "stepwise"],
        "ordered_loops": ["along_order"],
        "parallel": ["ParallelSamples"],
        "request": ["Request", "RequestOptions"],
        "sampler": ["Drawn"],
    },
)
