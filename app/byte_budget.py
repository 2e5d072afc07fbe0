"""A bound on the bytes that this process holds at once for objects on their way through it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

Admit = Callable[[int], None]

DEFAULT_BYTES = 12 * 1024 * 1024  # and as much again on their way; threads and libraries take 114 MiB of the 150 that a worker may have


class Budget(Protocol):
    """Where room for bodies comes from."""

    def share(self) -> AbstractContextManager[Admit]:
        """As ``ByteBudget.share``."""


class ByteBudget:
    """Admits bodies in the order of asking while their sum stays within *limit*; one that alone exceeds it is admitted alone."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def held(self) -> int:
        """The bytes admitted now."""
        return self._held

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Wait for room for *size* bytes and keep it until the end of the block."""
        with self.share() as admit:
            admit(size)
            yield

    @contextmanager
    def share(self, *, make_room: Callable[[], None] = lambda: None) -> Iterator[Admit]:
        """Give a function that waits for room for so many bytes more; all of it is given back at the end of the block.

        Only the first call waits: who holds a body and asks for another could wait for somebody who does the same. So who has several
        shares lets *make_room*, which is called before a wait, give the others back.
        """
        mine = 0

        def admit(size: int) -> None:
            nonlocal mine
            if not self._taken(size, anyway=mine > 0):
                make_room()
                self._wait_for(size)
            mine += size

        try:
            yield admit
        finally:
            with self._changed:
                self._held -= mine
                self._changed.notify_all()

    def _taken(self, size: int, *, anyway: bool) -> bool:
        """Take room for *size* bytes if there is some, or *anyway*: in one step, so that no holder of a share finds it gone and waits."""
        with self._changed:
            taken = anyway or (not self._waiting and self._fits(size))
            if taken:
                self._held += size
            return taken

    def _wait_for(self, size: int) -> None:
        with self._changed:
            # In turn, so that many small bodies cannot keep a large one waiting for ever.
            ticket = object()
            self._waiting.append(ticket)
            try:
                self._changed.wait_for(lambda: self._waiting[0] is ticket and self._fits(size))
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            self._held += size

    def _fits(self, size: int) -> bool:
        return self._held == 0 or self._held + size <= self._limit


@dataclass(frozen=True, slots=True)
class SharedOut:
    """A budget of which one task has several shares: it ends the others by *make_room* before it waits for one more."""

    budget: ByteBudget
    make_room: Callable[[], None]

    def share(self) -> AbstractContextManager[Admit]:
        """As ``ByteBudget.share``."""
        return self.budget.share(make_room=self.make_room)
