"""Reads that a thread has sent before it needs them: their answers come while it waits for those of other requests."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from app.errors import RekeyError

if TYPE_CHECKING:
    from app.clock import Clock
    from app.s3_client import BegunRead, S3Client

LONGEST_SECONDS = 4.0  # that an answer may wait for us; then the store may have closed the connection


class _Mine(threading.local):
    def __init__(self) -> None:
        self.begun: dict[str, BegunRead] = {}


class ReadsAhead:
    """The reads under way of one store, each of the thread that sent it."""

    def __init__(self, client: S3Client, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._mine = _Mine()

    def begin(self, key: str, headers: dict[str, str]) -> None:
        """Send the GET of *key*; what hinders it will be met by the read itself."""
        if key not in self._mine.begun:
            with suppress(RekeyError):
                self._mine.begun[key] = self._client.begin(key, headers)

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
