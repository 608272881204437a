"""Sampling a prior: every method draws the same integers from the same uniforms."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "draw": ["Method", "sample", "sample_parallel", "sample_rows"],
        "loops": ["Drawn", "cached", "full", "parallel_rows", "stepwise"],
        "ordered_loops": ["along_order"],
        "parallel": ["ParallelSamples"],
        "request": ["Request", "RequestOptions"],
    },
)
