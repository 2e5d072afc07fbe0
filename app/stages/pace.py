"""How many moves a task claims at once: what can be done before its looks grow old and its time is up.

A claim that is given back costs the ledger as much as one that is used. A thousand moves are looked at by a few pages of listings, but
where their keys lie far apart, or the store is far away, a task gets through some dozens.
"""

from __future__ import annotations

LEAST = 10
GROWTH = 2
REQUESTS = 3.0  # a move, before any was seen
NEWEST = 0.3  # how much the last chunk says of the next


class Pace:
    """What this process's tasks got done of their claims, by stage. Threads may race: the next claim mends it."""

    def __init__(self) -> None:
        """Nothing is known yet: whole chunks."""
        self._sizes: dict[str, int] = {}
        self._requests: dict[str, float] = {}

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

    def requests(self, stage: str, moves: int) -> float:
        """How many requests to the store *moves* are likely to take."""
        return max(1.0, moves * self._requests.get(stage, REQUESTS))

    def learn_requests(self, stage: str, *, moves: int, requests: int) -> None:
        """So many were sent for *moves*: it depends on where their keys lie, and on what is there."""
        if moves:
            known = self._requests.get(stage, requests / moves)
            self._requests[stage] = known + NEWEST * (requests / moves - known)
