"""The generator that a backend draws from beside Keras's own: PyTorch's, for dropout."""

from collections.abc import Sequence

import keras
import numpy as np


def backend_noise() -> list[np.ndarray]:
    """Its state, in as many arrays as it takes; none where all noise is from seeds of Keras."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    generators = [torch.get_rng_state(), *torch.cuda.get_rng_state_all()]
    return [state.numpy().copy() for state in generators]


def set_backend_noise(states: Sequence[np.ndarray]) -> None:
    """Goes on from what `backend_noise` gave."""
    if not states:
        return
    import torch

    cpu, *gpus = [torch.from_numpy(np.array(state)) for state in states]
    torch.set_rng_state(cpu)
    torch.cuda.set_rng_state_all(gpus)
