"""Damaged run folders are refused in one sentence or are what they were; by hand with more of them."""

from tests.fuzz.fuzz_runs import run


def test_damaged_runs_are_refused_or_right() -> None:
    said: list[str] = []
    counts = run(0, 240, said.append)
    assert said == []
    assert counts["wrong"] == counts["raw"] == counts["hung"] == 0
    assert counts["refused"] > 150
    assert counts["right"] + counts["changed"] > 5
    assert counts.total() == 240
