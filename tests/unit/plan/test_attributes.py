"""Estimates from a sample: what lies between the two figures."""

from __future__ import annotations

import random

import pytest

from app.plan.attributes import between


@pytest.mark.parametrize(
    ("seen", "looked_at", "of", "expected"),
    [
        (0, 200, 1000, (0, 0, 19)),  # none of 200: at most some two in a hundred
        (200, 200, 1000, (1000, 981, 1000)),
        (3, 3, 3, (3, 3, 3)),
        (0, 0, 5, (0, 0, 5)),  # nothing was looked at, nothing is known
        (0, 0, 0, (0, 0, 0)),
        (1, 10, 11, (1, 1, 2)),
    ],
)
def test_estimate_has_a_least_and_a_most(seen: int, looked_at: int, of: int, expected: tuple[int, int, int]) -> None:
    """Exact where all were looked at, never less than was seen nor more than can be."""
    assert between(seen, looked_at, of) == expected


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_truth_is_between_the_figures_as_often_as_is_said(share: float) -> None:
    """Of 400 samples of 200 objects at least 92 in 100."""
    chance = random.Random(7)
    of = 10_000
    truth = round(share * of)
    right = 0
    for _ in range(400):
        seen = sum(1 for number in chance.sample(range(of), 200) if number < truth)
        _, least, most = between(seen, 200, of)
        right += least <= truth <= most

    assert right >= 368
