"""How many moves of a run are in flight, for the seed: counted seldom, since a count goes through each of them."""

from __future__ import annotations

from collections.abc import Callable

COUNT_SECONDS = 5.0  # a count of a million takes some 0.1 s


class InFlight:
    """What one process knows of one run. Others' moves are seen at the next count: by so many the bound may be passed (H27)."""

    def __init__(self, *, seconds: float = COUNT_SECONDS) -> None:
        """Nothing is known yet. *seconds*: how long a count is good for; 0: it is made each time."""
        self._seconds = seconds
        self._moves = 0
        self._counted_at: float | None = None

    def find(self, count: Callable[[], int], *, most: int, now: float) -> int:
        """The last count and what was added since; counted anew where that is *most* or more, or the count is old. *now*: seconds."""
        if not self._seconds or self._counted_at is None or self._moves >= most or now - self._counted_at > self._seconds:
            self._moves, self._counted_at = count(), now
        return self._moves

    def add(self, moves: int) -> None:
        """So many more are in flight by this process's doing."""
        self._moves += moves
