"""Some damaged and hostile bundles; the script itself tries as many as one likes."""

from pathlib import Path

import pytest
from fuzz.fuzz_bundle import fuzz


@pytest.mark.parametrize(("kind", "rounds"), [("bytes", 150), ("fields", 150), ("graphs", 150)])
def test_damaged_bundles_are_refused_or_right(prior_bundle: Path, kind: str, rounds: int) -> None:
    found = fuzz(prior_bundle, kind, rounds, seed=0)
    assert found.total() == rounds
    assert found["refused"] > 0.7 * rounds
    assert set(found) <= {"refused", "right"}, found
    if kind == "bytes":
        assert found["right"] == 0
