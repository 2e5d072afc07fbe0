"""The store's clock as seen from here: a lower bound from the Date headers of its answers, carried forward by the boot clock (H2, H16).

Requests are dated by it, so that a worker whose wall clock is hours off is neither refused nor gets more time than it asked for.
"""

from __future__ import annotations

import threading

from app.s3_text import http_date

_UNKNOWN = (float("-inf"), float("inf"))
WINDOW_SECONDS = 30.0  # answers older than one to two windows are forgotten: clocks drift and are set


class StoreClock:
    """UTC seconds by the store's clock, never ahead of it as far as its answers of the last half minute tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Store time minus boot time, per window: the greatest lower bound and the least upper bound seen.
        self._now = self._before = _UNKNOWN
        self._window_end = float("-inf")
        self._text = ""
        self._date = 0

    def observe(self, date: str, *, sent_at: float, received_at: float) -> int | None:
        """Learn from the Date header of an answer that came between two boot-clock times; gives the date in UTC seconds."""
        with self._lock:
            if date != self._text:
                parsed = http_date(date)
                if parsed is None:
                    return None
                self._text, self._date = date, parsed
            # The store cut its time to whole seconds somewhere between sending and receiving.
            lower, upper = self._date - received_at, self._date + 1 - sent_at
            if received_at > self._window_end:
                stale = received_at > self._window_end + WINDOW_SECONDS
                self._before = _UNKNOWN if stale else self._now
                self._now, self._window_end = (lower, upper), received_at + WINDOW_SECONDS
            else:
                self._now = (max(self._now[0], lower), min(self._now[1], upper))
            return self._date

    def forget(self) -> None:
        """Start anew: the store's clock was set."""
        with self._lock:
            self._now = self._before = _UNKNOWN
            self._window_end = float("-inf")

    def at(self, boot: float) -> float | None:
        """The store's time at a boot-clock time, None as long as no answer has told it.

        Where answers contradict each other (a clock was set back, several nodes answer), the earliest counts, a second off for its cut.
        """
        with self._lock:
            lower = max(self._now[0], self._before[0])
            upper = min(self._now[1], self._before[1])
        if lower == float("-inf"):
            return None
        return boot + (lower if lower <= upper else upper - 1)
