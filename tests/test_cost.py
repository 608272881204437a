"""What more replicas cost: the arithmetic, and the bytes of models."""

import pytest

from tfprior.distributions import Categorical, DiscretizedLogistic
from tfprior.priors import PixelCNN
from tfprior.quantizers import ResidualVectorQuantizer, VectorQuantizer
from tfprior.replicas.cost import bytes_added_up, step_cost
from tfprior.tokenizers import VQVAE


def test_one_replica_talks_to_nobody() -> None:
    cost = step_cost(0.1, 10**6, 1, bandwidth=1e6, latency=1.0)
    assert (cost.seconds, cost.efficiency) == (0.1, 1.0)


@pytest.mark.parametrize(
    ("replicas", "seconds"),
    [
        (2, 0.1 + 2 * 2 * 0.001 + 1.0),  # each sends half to the other, twice
        (4, 0.1 + 2 * 6 * 0.001 + 1.5),
    ],
)
def test_a_ring_sends_every_piece_to_the_next(replicas: int, seconds: float) -> None:
    cost = step_cost(0.1, 10**6, replicas, bandwidth=1e6, latency=0.001)
    assert cost.seconds == pytest.approx(seconds)
    assert cost.efficiency == pytest.approx(0.1 / seconds)


def test_bytes_of_models() -> None:
    prior = PixelCNN((4, 3, 1), Categorical(4), filters=4, num_layers=1)
    assert bytes_added_up(prior) == 4 * prior.count_params()
    small = {"filters": 4, "num_residual_blocks": 1}
    codebooks = [VectorQuantizer(8, 3), VectorQuantizer(8, 3)]
    tokenizer = VQVAE((4, 4, 1), ResidualVectorQuantizer(codebooks), DiscretizedLogistic(4), **small)
    trained = sum(int(weight.numpy().size) for weight in tokenizer.trainable_weights)
    assert 0 <= bytes_added_up(tokenizer) - 4 * trained - 8 * (8 + 8) * (3 + 1) <= 8 * 2  # flags
