"""Whether too many of the last outcomes were failures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What some tick has seen end."""

    outcomes: int
    failed: int


def added(window: Sequence[Seen], new: Seen, *, last: int) -> list[Seen]:
    """*window* with *new*, without what lies before the *last* outcomes; a tick is not parted, so it may hold some more than these."""
    kept = [*window, new] if new.outcomes else list(window)
    while len(kept) > 1 and sum(seen.outcomes for seen in kept[1:]) >= last:
        kept.pop(0)
    return kept


def is_too_much(window: Sequence[Seen], *, percent: int, last: int) -> bool:
    """Whether *percent* of the *last* outcomes failed; so many failures are enough as soon as they are there, whatever still comes."""
    failed, outcomes = sum(seen.failed for seen in window), sum(seen.outcomes for seen in window)
    return failed > 0 and failed * 100 >= percent * max(outcomes, last)
