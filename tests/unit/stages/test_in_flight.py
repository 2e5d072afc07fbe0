"""How often the seed counts what is in flight, and what it takes the number for in between."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from app.stages.in_flight import COUNT_SECONDS, InFlight

MOST = 10


@dataclass
class Ledger:
    """Counts what is in flight, and how often it was asked."""

    moves: int
    asked: list[int] = field(default_factory=list)

    def count(self) -> int:
        """Ask."""
        self.asked.append(self.moves)
        return self.moves


def test_count_is_asked_for_once_while_there_is_room() -> None:
    """What the seed itself has added is added."""
    ledger, known = Ledger(2), InFlight()

    assert known.find(ledger.count, most=MOST, now=0) == 2
    known.add(7)
    assert known.find(ledger.count, most=MOST, now=1) == 9
    assert ledger.asked == [2]


@pytest.mark.parametrize(("left", "found"), [(12, 12), (10, 10), (3, 3)])
def test_bound_is_held_by_a_count_and_not_by_a_guess(left: int, found: int) -> None:
    """Most of what was added may have been done meanwhile, or others have added too."""
    ledger, known = Ledger(2), InFlight()
    known.find(ledger.count, most=MOST, now=0)
    known.add(8)
    ledger.moves = left

    assert known.find(ledger.count, most=MOST, now=1) == found


def test_old_count_is_made_anew() -> None:
    """The reconciler sends moves too."""
    ledger, known = Ledger(2), InFlight()
    known.find(ledger.count, most=MOST, now=0)
    ledger.moves = 30

    assert known.find(ledger.count, most=MOST, now=COUNT_SECONDS) == 2
    assert known.find(ledger.count, most=MOST, now=COUNT_SECONDS + 1) == 30
