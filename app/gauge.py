"""How a store answers: how many requests, how long they took, how often it asked for fewer. Counted where they are sent, for free."""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass

# Seconds up to which answers are counted together, the last group beyond all of them: from a memory's answer to a time-out.
BOUNDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NONE = (0,) * (len(BOUNDS) + 1)


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted so far; only ever more."""

    requests: int = 0
    slow_downs: int = 0  # 503 and 429
    microseconds: int = 0  # that the requests took, all together
    buckets: tuple[int, ...] = _NONE  # requests by how long they took: see BOUNDS

    def __add__(self, other: Reading) -> Reading:
        """Of two stores together."""
        return Reading(
            self.requests + other.requests,
            self.slow_downs + other.slow_downs,
            self.microseconds + other.microseconds,
            tuple(map(int.__add__, self.buckets, other.buckets)),
        )

    def __sub__(self, before: Reading) -> Reading:
        """What was counted since *before*."""
        return Reading(
            self.requests - before.requests,
            self.slow_downs - before.slow_downs,
            self.microseconds - before.microseconds,
            tuple(map(int.__sub__, self.buckets, before.buckets)),
        )


class Gauge:
    """Counts; safe for threads."""

    def __init__(self) -> None:
        """Nothing is counted yet."""
        self._lock = threading.Lock()
        self._requests = self._slow_downs = 0
        self._seconds = 0.0
        self._buckets = list(_NONE)

    def add(self, *, seconds: float, slow_down: bool) -> None:
        """A request was answered after so long."""
        with self._lock:
            self._requests += 1
            self._seconds += seconds
            self._slow_downs += slow_down
            self._buckets[bisect_left(BOUNDS, seconds)] += 1

    def read(self) -> Reading:
        """What was counted so far."""
        with self._lock:
            return Reading(self._requests, self._slow_downs, int(self._seconds * 1_000_000), tuple(self._buckets))
