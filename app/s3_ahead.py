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
NEW_CONNECTIONS = 2  # that are opened for requests sent together: each takes a round trip or three, one after the other


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
        """Send those for the first of *asked*, as far as there are connections, and give how many; two more are opened at most.

        What was sent before is not sent again.
        """
        new = NEW_CONNECTIONS
        for number, one in enumerate(asked):
            if one in self._mine.begun:
                continue
            if not self._client.kept:
                if not new:
                    return number
                new -= 1
            try:
                self._mine.begun[one] = self._send(one)
            except RekeyError:  # a server that is away is waited for once
                return number
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
