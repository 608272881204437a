"""Examples that join a batch at different times, beside all of them drawn together."""

from typing import Any

import numpy as np

from tfprior.export.client import OnnxSampler


def assert_it_matters_to_none_when_it_joins(
    sampler: OnnxSampler, condition: Any = None, **options: Any
) -> None:
    """Each of four examples, with a temperature of its own, beside one that leaves in the middle."""
    temperature = np.array([0.7, 1.0, 1.3, 0.9], "float32")
    expected = sampler.sample(4, condition, seed=3, temperature=temperature, **options)
    ours = sampler.examples(4, condition, 3, temperature, **options)
    (stranger,) = sampler.examples(1, None if condition is None else condition[:1], 9)
    batch = sampler.continuous_batch()
    told = []
    for joining in (ours[:1], [stranger, *ours[1:3]], ours[3:]):
        batch.join(joining)
        told += batch.advance()
    if not stranger.is_done:
        batch.leave(stranger)
    while batch.examples:
        assert stranger not in batch.examples
        told += batch.advance()
    for example, values in zip(ours, expected, strict=True):
        sampler.check(example)
        assert example.is_done
        assert example in told
        np.testing.assert_array_equal(example.values, values)
    order = options.get("order", "raster")
    along = {} if sampler.prior.orders == "raster" else {"order": order}
    if not {"observed", "method"} & set(options):
        nats = sampler.log_prob(expected, condition, **along)
        np.testing.assert_allclose([example.log_prob for example in ours], nats, rtol=1e-5)
