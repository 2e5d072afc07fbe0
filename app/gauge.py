"""How a store answers: how many requests, how long they took, how often it asked for fewer. Counted where they are sent, for free."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted so far; only ever more."""

    requests: int = 0
    slow_downs: int = 0  # 503 and 429
    microseconds: int = 0  # that the requests took, all together

    def __add__(self, other: Reading) -> Reading:
        """Of two stores together."""
        return Reading(self.requests + other.requests, self.slow_downs + other.slow_downs, self.microseconds + other.microseconds)

    def __sub__(self, before: Reading) -> Reading:
        """What was counted since *before*."""
        return Reading(self.requests - before.requests, self.slow_downs - before.slow_downs, self.microseconds - before.microseconds)


class Gauge:
    """Counts; safe for threads."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._lock = threading.Lock()
        self._requests = self._slow_downs = 0
        self._seconds = 0.0

    def add(self, *, seconds: float, slow_down: bool) -> None:
        """A request was answered after so long."""
        with self._lock:
            self._requests += 1
            self._seconds += seconds
            self._slow_downs += slow_down

    def read(self) -> Reading:
        """What was counted so far."""
        with self._lock:
            return Reading(self._requests, self._slow_downs, int(self._seconds * 1_000_000))
