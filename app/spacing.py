"""How far apart a thread sends its requests: a stage that was slowed down asks evenly, since a burst is refused however few it asks in all.

The thread says so itself, for what it does next (app.stages.runner); its transport waits (app.s3_patience). A request that is sent again
after a refusal has its own pause, and is not counted.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LONGEST_SECONDS = 1.0  # between two requests: looks grow old


@dataclass(slots=True)
class Sent:
    """What a thread has sent so far."""

    apart: float  # seconds between two requests
    next_at: float = float("-inf")  # boot-clock seconds
    requests: int = 0


class _Mine(threading.local):
    sent: Sent | None = None


_mine = _Mine()


@contextmanager
def spaced(seconds: float) -> Iterator[Sent]:
    """Let the requests that this thread sends within go so far apart; 0: as they come. Gives their count."""
    before, now = _mine.sent, Sent(min(seconds, LONGEST_SECONDS))
    _mine.sent = now
    try:
        yield now
    finally:
        _mine.sent = before


def is_spaced() -> bool:
    """Whether this thread is to send its requests some way apart."""
    return _mine.sent is not None and _mine.sent.apart > 0


def until_next(now: float, *, most: float) -> float:
    """Count a request of this thread; seconds until it may go, *most* at most: it has to be answered in time."""
    mine = _mine.sent
    if mine is None:
        return 0.0
    mine.requests += 1
    if not mine.apart:
        return 0.0
    wait = max(0.0, min(mine.next_at - now, most))
    mine.next_at = now + wait + mine.apart
    return wait
