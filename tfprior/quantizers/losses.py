"""What quantizers add to a model's loss beside the distance to their codes, and the options of it.

The entropy loss E[H(p(code | z))] − H(E[p(code | z)]), in nats, wants sure choices and evenly used codes.

Shapes: N vectors · K codes · D bits.
"""

from typing import Any

from keras import ops

from tfprior.inputs import is_number
from tfprior.replicas.share import mean_over_batch


def entropy_of_codes(log_probs: Any) -> Any:
    """The entropy loss of one choice among K codes: log p(code | z) (N, K) → ()."""
    probs = ops.exp(log_probs)
    mean = mean_over_batch(probs)
    of_each = -ops.mean(ops.sum(probs * log_probs, axis=1))
    return of_each + ops.sum(mean * ops.log(mean + 1e-12))


def entropy_of_bits(logits: Any) -> Any:
    """The entropy loss of D choices between two, summed over them: log-odds (N, D) → ()."""
    on = ops.sigmoid(logits)
    of_each = on * ops.softplus(-logits) + (1 - on) * ops.softplus(logits)
    mean = ops.clip(mean_over_batch(on), 1e-6, 1 - 1e-6)
    of_mean = -mean * ops.log(mean) - (1 - mean) * ops.log(1 - mean)
    return ops.sum(ops.mean(of_each, axis=0) - of_mean)


def check_loss_options(name: str, *, entropy_temperature: Any, **weights: Any) -> None:
    """Raises ValueError unless the weights are finite numbers of 0 or more, and the temperature is above."""
    for option, value in weights.items():
        if not (is_number(value) and value >= 0):
            raise ValueError(f"{name} got {option}={value!r}; expected a finite number of 0 or more.")
    if not (is_number(entropy_temperature) and entropy_temperature > 0):
        raise ValueError(
            f"{name} got entropy_temperature={entropy_temperature!r}; expected a finite number above 0."
        )
