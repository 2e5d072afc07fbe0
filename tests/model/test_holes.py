"""Every hole of the protocol has its schedule."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.model.holes import ELSEWHERE, MORE
from tests.model.scenarios import BY_SCENARIO

ROOT = Path(__file__).parents[2]
HOLES = [f"H{number}" for number in range(1, 36)]


@pytest.mark.parametrize("hole", HOLES)
def test_schedule_of_the_hole_is_played(hole: str) -> None:
    """By scenarios that are called after it, or named for it, or by a test of another kind that is there."""
    named = [name for name in BY_SCENARIO if name.startswith(f"{hole}_")]
    more = [name for name in MORE.get(hole, ()) if name in BY_SCENARIO]
    elsewhere = ELSEWHERE.get(hole)
    there = elsewhere is not None and f"def {elsewhere.test}" in (ROOT / elsewhere.file).read_text()

    assert named or more or there
    assert there or elsewhere is None
    assert more == list(MORE.get(hole, ()))


def test_each_test_elsewhere_has_a_reason() -> None:
    """Of every one that is not a scenario."""
    assert all(elsewhere.why for elsewhere in ELSEWHERE.values())
