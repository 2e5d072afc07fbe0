"""Whether the objects of a run are small, by those seen lately."""

from __future__ import annotations

from app.copying import MOSTLY_SMALL, SMALL_BYTES, SNOWBALL_OBJECTS

NEWEST = 0.05  # how much one object says of the next: after a large one, a few small ones
HOPED = 0.92  # until something is seen: the first large one ends that


class SmallShare:
    """The share of small objects among those seen lately; threads may race: the next object mends it."""

    def __init__(self, share: float = HOPED, *, is_tried: bool = False) -> None:
        """Nothing is known yet, unless *share* is."""
        self._share = share
        self.is_tried = is_tried  # whether a snowball of the run was taken by the store
        self._is_refused = False

    @property
    def together(self) -> int:
        """How many may go in one request; one at first: of several that it refuses MinIO writes one answer from threads, and may end."""
        return SNOWBALL_OBJECTS if self.is_tried else 1

    def refuse(self) -> None:
        """The store has refused a snowball of the run, or not answered: no more of them."""
        self._is_refused = True

    def see(self, size: int) -> None:
        """An object has *size* bytes."""
        self._share += NEWEST * ((size <= SMALL_BYTES) - self._share)

    @property
    def is_most(self) -> bool:
        """Whether nearly all are small, and may go together."""
        return self._share > MOSTLY_SMALL and not self._is_refused
