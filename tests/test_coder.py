"""The range coder: any probabilities code any values, at their price."""

import numpy as np
import pytest

from tfprior.compression.coder import Decoder, Encoder, UndecodableError


@pytest.mark.parametrize("num_levels", [2, 3, 256, 5000])
def test_any_probabilities_code_any_values(num_levels: int) -> None:
    rng = np.random.default_rng(num_levels)
    for power in (1, 20, 200):
        tables = rng.random((50, num_levels)).astype("float32") ** power + np.float32(1e-38)
        tables[::3, num_levels // 2 :] = 0
        tables[::3, 0] += np.float32(1e-38)
        tables /= tables.sum(-1, keepdims=True, dtype="float32")
        for values in (rng.integers(num_levels, size=50), np.zeros(50, int), np.full(50, num_levels - 1)):
            encoder = Encoder()
            encoder(tables, values)
            decoder = Decoder(encoder.data())
            np.testing.assert_array_equal(decoder(tables), values)
            assert decoder.is_exhausted()


def test_bits_are_those_of_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    tables = rng.dirichlet(np.full(256, 0.05), 5000).astype("float32")
    ends = tables.astype("float64").cumsum(-1)
    values = (ends < rng.random((5000, 1)) * ends[:, -1:]).sum(-1).clip(0, 255)
    encoder = Encoder()
    encoder(tables, values)
    bits = -np.log2(tables[np.arange(5000), values].astype("float64")).sum()
    assert abs(8 * len(encoder.data()) - bits) < 0.001 * bits + 64


def test_data_that_nobody_encodes_are_noticed() -> None:
    with pytest.raises(UndecodableError):
        Decoder(b"\xff" * 8)(np.full((100, 3), 1 / 3))


def test_decoding_stops_when_the_words_are_used_up() -> None:
    table = np.full((1000, 4), 0.25)
    encoder = Encoder()
    encoder(table, np.zeros(1000, "int32"))
    decoder = Decoder(encoder.data())
    np.testing.assert_array_equal(decoder(table), 0)
    with pytest.raises(UndecodableError, match="used up before the values that they are said to hold"):
        decoder(table)
