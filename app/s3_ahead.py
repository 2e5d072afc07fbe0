"""Reads that a thread has sent before it needs them: their answers come while it waits for those of other requests."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from app.errors import RekeyError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.clock import Clock
    from app.s3_client import BegunRead, S3Client

LONGEST_SECONDS = 4.0  # that an answer may wait for us; then the store may have closed the connection
NEW_CONNECTIONS = 2  # that are opened for requests sent together: each takes a round trip or three, one after the other


class _Mine(threading.local):
    def __init__(self) -> None:
        self.begun: dict[str, BegunRead] = {}


class ReadsAhead:
    """The reads of one kind under way of one store, each of the thread that sent it."""

    def __init__(self, client: S3Client, method: str, headers: Mapping[str, str], *, clock: Clock) -> None:
        self._client = client
        self._method = method
        self._headers = headers
        self._clock = clock
        self._mine = _Mine()

    def begin(self, key: str) -> None:
        """Send the request for *key*; what hinders it will be met by the read itself."""
        if key not in self._mine.begun:
            with suppress(RekeyError):
                self._mine.begun[key] = self._client.begin(self._method, key, self._headers)

    def begin_all(self, keys: Sequence[str]) -> int:
        """Send those for the first of *keys*, as far as there are connections, and give how many; two more are opened at most."""
        new = NEW_CONNECTIONS
        for number, key in enumerate(keys):
            if not self._client.kept:
                if not new:
                    return number
                new -= 1
            try:
                self._mine.begun[key] = self._client.begin(self._method, key, self._headers)
            except RekeyError:  # a server that is away is waited for once
                return number
        return len(keys)

    def take(self, key: str) -> BegunRead | None:
        """The read of *key* that this thread has sent not long ago."""
        begun = self._mine.begun.pop(key, None)
        if begun is not None and self._clock.boot() - begun.request.sent_at > LONGEST_SECONDS:
            begun.request.drop()
            return None
        return begun

    def drop(self) -> None:
        """Have none of them."""
        while self._mine.begun:
            self._mine.begun.popitem()[1].request.drop()
