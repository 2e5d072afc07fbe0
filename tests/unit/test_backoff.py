"""The wait between attempts."""

from __future__ import annotations

import random

import pytest

from app.backoff import delay


@pytest.mark.parametrize(("attempt", "expected"), [(0, 0.5), (1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (6, 10.0), (10_000, 10.0)])
def test_delay_doubles_up_to_the_cap(attempt: int, expected: float) -> None:
    """Each wait is twice the one before, never above the cap, however many attempts there were."""
    assert expected == delay(attempt, base=0.5, cap=10, jitter=None)


def test_delay_spreads_over_its_upper_half_with_jitter() -> None:
    """With jitter the wait lies between half and whole, and workers differ."""
    found = {delay(4, base=1, cap=60, jitter=random.Random(seed)) for seed in range(50)}

    assert len(found) > 40
    assert 4 <= min(found) < max(found) <= 8
