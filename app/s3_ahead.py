"""Reads that a thread has sent before it needs them: their answers come while it waits for those of other requests."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Generic, TypeVar

from app.errors import RekeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.clock import Clock
    from app.s3_client import BegunRead, S3Client

Asked = TypeVar("Asked")  # what tells one read from another

LONGEST_SECONDS = 4.0  # that an answer may wait for us; then the store may have closed the connection


class _Mine(threading.local, Generic[Asked]):
    def __init__(self) -> None:
        self.begun: dict[Asked, BegunRead] = {}


class ReadsAhead(Generic[Asked]):
    """The reads of one kind under way of one store, each of the thread that sent it; *send* sends what is asked for."""

    def __init__(self, client: S3Client, send: Callable[[Asked], BegunRead], *, clock: Clock) -> None:
        self._client = client
        self._send = send
        self._clock = clock
        self._mine: _Mine[Asked] = _Mine()

    def begin_all(self, asked: Sequence[Asked]) -> int:
        """Send those for the first of *asked*, as far as connections can be had, and give how many.

        What was sent before is not sent again.
        """
        begun = self._mine.begun
        try:
            ready = self._client.prepare(sum(one not in begun for one in asked))
            for number, one in enumerate(asked):
                if one in begun:
                    continue
                if not ready:
                    return number
                ready -= 1
                begun[one] = self._send(one)
        except RekeyError:  # a server that is away is waited for once
            return next(number for number, one in enumerate(asked) if one not in begun)
        return len(asked)

    def take(self, one: Asked) -> BegunRead | None:
        """The read of *one* that this thread has sent not long ago."""
        begun = self._mine.begun.pop(one, None)
        if begun is not None and self._clock.boot() - begun.request.sent_at > LONGEST_SECONDS:
            begun.request.drop()
            return None
        return begun

    def drop(self, *, but: Collection[Asked] = ()) -> None:
        """Have none of them, or only some."""
        for one in [one for one in self._mine.begun if one not in but]:
            self._mine.begun.pop(one).request.drop()
