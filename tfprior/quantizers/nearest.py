"""Nearest codes (van den Oord et al. 2017, arXiv:1711.00937).

Shapes: N vectors · D their size · K codes.
"""

from typing import Any

from keras import ops


def nearest_codes(vectors: Any, codebook: Any) -> Any:
    """The number of the nearest code of each vector: (N, D) and (K, D) → (N,) int32.

    ‖z‖² is the same for all codes, so the largest z·e − ‖e‖²/2 decides, in one product and N·K numbers. What
    all codes have in common is taken off first, or it would cost the digits that tell them apart.
    """
    centre = ops.mean(codebook, axis=0)
    vectors, codebook = vectors - centre, codebook - centre
    halves = ops.sum(ops.square(codebook), axis=1, keepdims=True) / 2
    ones = ops.ones_like(vectors[:, :1])
    scores = ops.matmul(
        ops.concatenate([vectors, ones], axis=1),
        ops.transpose(ops.concatenate([codebook, -halves], axis=1)),
    )
    return ops.cast(ops.top_k(scores, 1, sorted=False)[1][:, 0], "int32")


def squared_distances(vectors: Any, codebook: Any) -> Any:
    """‖z − e‖² of every vector and code: (N, D) and (K, D) → (N, K)."""
    return (
        ops.sum(ops.square(vectors), axis=1, keepdims=True)
        - 2 * ops.matmul(vectors, ops.transpose(codebook))
        + ops.sum(ops.square(codebook), axis=1)
    )
