"""Noise from seeds: the published words of the generator, and the layout that every client follows."""

import numpy as np
import pytest

from tfprior import philox
from tfprior.inputs import check_uniforms
from tfprior.philox import LOW, Seed, uniforms_of

PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((LOW, LOW, LOW, LOW), (LOW, LOW), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


def words_of(counter: tuple[int, int, int, int], key: tuple[int, int]) -> list[int]:
    a, b, c, d = (np.array(word, "uint64") for word in counter)
    return philox.philox((a, b, c, d), key).tolist()


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_the_words_are_those_of_random123(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: str
) -> None:
    assert " ".join(f"{word:08x}" for word in words_of(counter, key)) == words


def test_each_uniform_has_a_place_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seed = Seed(0x0123456789ABCDEF, first=7, grid=2)
    expected = np.empty((5, 6, 9))
    for example, position, k in np.ndindex(expected.shape):
        words = words_of((k // 4, position, 7 + example, 2), (0x89ABCDEF, 0x01234567))
        expected[example, position, k] = (words[k % 4] >> 8) / 2**24
    drawn = uniforms_of(seed, 5, 6, 9)
    assert drawn.dtype == "float32"
    np.testing.assert_array_equal(drawn, expected)
    assert len(np.unique(drawn)) == drawn.size
    monkeypatch.setattr(philox, "AT_ONCE", 40)  # two examples, then two, then one
    np.testing.assert_array_equal(uniforms_of(seed, 5, 6, 9), expected)


def test_uniforms_are_uniform() -> None:
    drawn = uniforms_of(Seed(1), 64, 64, 8)
    counts, _ = np.histogram(drawn, 64, (0, 1))
    assert ((counts - 512) ** 2).sum() / 512 < 103  # a quantile of 99.9 % of χ² with 63 degrees of freedom
    pairs = np.corrcoef(drawn.reshape(-1, 8).T) - np.eye(8)
    assert np.abs(pairs).max() < 5 / 64


def test_noise_of_an_example_does_not_depend_on_its_batch() -> None:
    grid = (2, 3, 1)
    many = check_uniforms(None, 9, grid, 5, seed=3)
    np.testing.assert_array_equal(check_uniforms(None, 4, grid, 5, seed=Seed(3, first=5)), many[5:])
    np.testing.assert_array_equal(check_uniforms(None, 9, grid, 2, seed=3), many[..., :2])
    for other in (Seed(3, grid=1), Seed(4), Seed(3 + 2**32)):
        assert (check_uniforms(None, 9, grid, 5, seed=other) != many).mean() > 0.99


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "0"])
def test_other_seeds_are_refused(seed: object) -> None:
    with pytest.raises(ValueError, match=r"seed=.*; expected an integer from 0 to 2\^64 - 1, or None"):
        check_uniforms(None, 1, (1, 1, 1), 1, seed=seed)
