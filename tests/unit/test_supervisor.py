"""A child that dies again and again is started again and again; with real processes: tests/integration/test_supervisor.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers import supervisor
from workers.supervisor import MAX_PAUSE_SECONDS, STEADY_SECONDS, Child

if TYPE_CHECKING:
    import pytest


class Dying(Child):
    """Ends as soon as it is started, at the time that the test says."""

    now = 1000.0

    def __init__(self) -> None:
        super().__init__("worker copy")
        self.starts: list[float] = []

    def start(self) -> None:
        """Note when."""
        self._started = self.now
        self.starts.append(self.now)

    def is_running(self) -> bool:
        """It never does."""
        return False


def pauses(child: Dying, deaths: int) -> list[float]:
    """How long it is not started after each of its next *deaths*."""
    found = []
    for _ in range(deaths):
        began, count = child.now, len(child.starts)
        while len(child.starts) == count:
            child.revive()
            child.now += 0.5
        found.append(child.starts[-1] - began)
        child.now = child.starts[-1]
    return found


def test_child_that_dies_for_ever_is_started_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, then at growing intervals, then twice a minute, however often: the supervisor does not end over it."""
    child = Dying()
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: child.now)
    child.start()
    waited = pauses(child, 1100)

    assert waited[:6] == [0, 1, 3, 7, 15, MAX_PAUSE_SECONDS]
    assert set(waited[5:]) == {MAX_PAUSE_SECONDS}


def test_child_that_ran_for_a_while_is_started_at_once_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next death counts as the first."""
    child = Dying()
    monkeypatch.setattr(supervisor.time, "monotonic", lambda: child.now)
    child.start()
    pauses(child, 5)
    child.now += STEADY_SECONDS + 1

    assert pauses(child, 1) == [0]
