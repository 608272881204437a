"""What more replicas cost: how long a step of training takes, computed and communicated.

Each of R replicas computes its share of the batch, then a ring adds up N bytes: every machine sends
2 · (R − 1) pieces of N / R bytes, one after the other.

    seconds(R) = compute + collectives · 2 (R − 1) · latency + 2 (R − 1) / R · N / bandwidth
"""

import math
from typing import Any, NamedTuple

COLLECTIVES = 2
"""Of a step: one tells how many examples each replica has, one adds up everything else."""


class StepCost(NamedTuple):
    """A step of training on several replicas.

    Attributes:
        compute: seconds of forward, backward and update.
        communication: seconds of adding up.
    """

    compute: float
    communication: float

    @property
    def seconds(self) -> float:
        """Of the whole step."""
        return self.compute + self.communication

    @property
    def efficiency(self) -> float:
        """Images a second, as a share of those of as many machines that do not talk."""
        return self.compute / self.seconds


def step_cost(compute: float, num_bytes: int, replicas: int, bandwidth: float, latency: float) -> StepCost:
    """The cost of a step.

    Args:
        compute: seconds that one replica takes for its share of the batch, alone.
        num_bytes: that are added up, of `bytes_added_up`.
        replicas: how many.
        bandwidth: bytes a second between two neighbours.
        latency: seconds of a message without content.
    """
    messages = 2 * (replicas - 1)
    return StepCost(compute, COLLECTIVES * messages * latency + messages / replicas * num_bytes / bandwidth)


def bytes_added_up(model: Any) -> int:
    """Bytes that the replicas of a model add up in a step, but for the few of losses and metrics.

    Four for each trainable weight, and 8 · K · (D + 1) for a codebook of K vectors of D numbers: counts and
    sums of what is nearest to them, vectors to restart from, and counts once more for the metrics.
    """
    codebooks = [weight for quantizer in getattr(model, "quantizers", ()) for weight in quantizer.weights]
    return 4 * (sum(map(_size, model.trainable_weights)) + 2 * sum(map(_size, codebooks)))


def _size(weight: Any) -> int:
    return math.prod(weight.shape)
