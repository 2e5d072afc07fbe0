"""How many moves a task claims at once: what can be done before its looks grow old and its time is up.

A claim that is given back costs the ledger as much as one that is used. A thousand moves are looked at by a few pages of listings, but
where their keys lie far apart, or the store is far away, a task gets through some dozens.
"""

from __future__ import annotations

LEAST = 10
GROWTH = 2


class Pace:
    """What this process's tasks got done of their claims, by stage. Threads may race: the next claim mends it."""

    def __init__(self) -> None:
        """Nothing is known yet: whole chunks."""
        self._sizes: dict[str, int] = {}

    def size(self, stage: str, *, chunk: int) -> int:
        """Moves to claim for *stage*, *chunk* at most."""
        return min(chunk, self._sizes.get(stage, chunk))

    def learn(self, stage: str, *, claimed: int, given_back: int) -> None:
        """A claim is over: the next one is as large as what was done of it, or larger if that was all; much smaller if it was nothing."""
        if given_back >= claimed:
            self._sizes[stage] = max(1, min(LEAST, claimed // GROWTH))
        elif given_back:
            self._sizes[stage] = max(LEAST, claimed - given_back)
        elif stage in self._sizes and claimed >= self._sizes[stage]:
            self._sizes[stage] = claimed * GROWTH
