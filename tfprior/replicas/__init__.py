"""One training step for several replicas, on one machine or more, with the numbers of one device.

    replica r, nᵣ of N examples               all replicas alike
    forward, backward ── nᵣ·gradient ──┐      gradient ÷ N ─ clip ─ optimizer
                      ── nᵣ·loss, nᵣ ──┼─ Σ ─ loss ÷ N, metrics
                      ── statistics ───┘      codebooks

`share` tells layers which part of the global batch they see, on any backend; the rest is of TensorFlow.
"""
