"""One training step for any number of replicas: the same numbers on one device, several, or several machines.

    replica r, nᵣ of N examples               all replicas alike
    forward, backward ── nᵣ·gradient ──┐      gradient ÷ N ─ clip ─ optimizer
                      ── nᵣ·loss, nᵣ ──┼─ Σ ─ loss ÷ N, metrics
                      ── statistics ───┘      codebooks

`share` tells layers which part of the global batch they see; the rest is TensorFlow's half.
"""
