"""Damaged compressed files are refused in one sentence or give back their images; by hand with more."""

from tests.fuzz.fuzz_compressed import run


def test_damaged_files_are_refused_or_right() -> None:
    counts = run(seed=0, count=300)
    assert counts["wrong"] == counts["raw"] == counts["hung"] == 0
    assert counts["refused"] > 250
    assert counts.total() == 300
