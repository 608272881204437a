"""A prior run step by step over known values, and over the whole image."""

from typing import Any

import numpy as np

from tfprior.compilation import compiled
from tfprior.priors import Prior


def teacher_forced(prior: Prior, values: np.ndarray, condition: Any) -> tuple[np.ndarray, list[Any]]:
    """Parameters (B, H, W, P) of `step` at every position, and the states before each of them."""
    height, width, channels = prior.grid_shape
    flat = values.reshape(len(values), -1, channels)
    state = prior.initial_state(len(values), condition)
    previous = np.full_like(flat[:, 0], 3)  # ignored at position 0
    outputs, states = [], []
    run = compiled(step, prior)  # as in a rollout: traced once, not looked up op by op at every position
    for position in range(prior.num_steps):
        states.append(state)
        where = np.full(len(values), position, "int32")
        params, state = run(state, previous, where, flat[:, position])
        outputs.append(np.asarray(params))
        previous = flat[:, position]
    return np.stack(outputs, 1).reshape(len(values), height, width, -1), states


def step(prior: Prior, *args: Any) -> Any:
    return prior.step(*args)


def whole(prior: Prior, values: np.ndarray, condition: Any) -> np.ndarray:
    return np.asarray(prior(values if condition is None else {"values": values, "condition": condition}))
