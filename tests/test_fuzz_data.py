"""Damaged data files are refused in one sentence or load as they were; by hand with more of them."""

import random

import pytest

from tests.fuzz.fuzz_data import run
from tests.fuzz.mutations import is_sentence, mutated, outcome


@pytest.mark.parametrize("seed", [0, 1])
def test_damaged_files_are_refused_or_right(seed: int) -> None:
    counts = run(seed, 300)
    assert counts["wrong"] == counts["raw"] == counts["hung"] == 0
    assert counts["refused"] > 150  # the damage does reach what is read
    assert counts["right"] > 10
    assert counts.total() == 300


def test_mutations_change_and_repeat() -> None:
    for data in (b"", b"a", bytes(50)):
        rng, again = random.Random(3), random.Random(3)
        changed = [mutated(data, rng) for _ in range(50)]
        assert data not in changed
        assert changed == [mutated(data, again) for _ in range(50)]


def test_outcomes_are_told_apart() -> None:
    def fail(message: str) -> None:
        raise ValueError(message)

    def hang() -> None:
        while True:
            try:
                while True:
                    pass
            except Exception:
                pass

    sentence = "a.npz is damaged; expected a whole file: copy it again."
    assert outcome(lambda: 3, (ValueError,)) == ("returned", 3)
    assert outcome(lambda: fail(sentence), (ValueError,))[0] == "refused"
    assert outcome(lambda: fail(sentence), (OSError,))[0] == "raw"
    assert outcome(lambda: fail("index 3"), (ValueError,))[0] == "raw"
    assert outcome(lambda: fail(sentence + "\n" + sentence), (ValueError,))[0] == "raw"
    assert outcome(hang, (ValueError,), seconds=1) == ("hung", None)
    assert is_sentence(sentence)
