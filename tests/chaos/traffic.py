"""The service's live reader and live writer during a round, and what each asset's bytes may be at any moment.

Both keep what the README asks: A1 (what they do with a key ends within the grace after they read it), and the writer writes an asset only
after it has seen its newest version there (so that it never leaves two newest versions, one at each key: those would be a conflict).
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import psycopg
import urllib3
from minio.error import S3Error

from tests.acceptance.service import Asset, Bucket, Content

if TYPE_CHECKING:
    from tests.servers import S3Server

READ_PAUSE_SECONDS = 0.02
WRITE_PAUSE_SECONDS = 0.1
REQUEST_SECONDS = 2.0  # below the grace, so that a write ends within it
RECENT_SHARE = 0.4  # of the reads go to assets that were written: that is where something could be wrong
_OUTAGE = (OSError, urllib3.exceptions.HTTPError, psycopg.OperationalError, S3Error)
_GONE = frozenset({"NoSuchKey", "NoSuchBucket"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One upload; without ``answered_at`` nobody knows whether it arrived."""

    content: Content
    key: str
    answered_at: float | None = None


class Living:
    """One asset and all its versions, oldest first."""

    def __init__(self, asset: Asset) -> None:
        self.asset = asset
        self.versions = [Version(content=asset.content, key=asset.old_key, answered_at=0.0)]

    def known(self, at: float, *, key: str | None = None) -> int:
        """The newest version that was answered by then (at *key*), -1 if there is none."""
        fit = [n for n, version in enumerate(self.versions) if version.answered_at is not None and version.answered_at <= at]
        return max((n for n in fit if key is None or self.versions[n].key == key), default=-1)

    def version_of(self, content: Content) -> int | None:
        """Which version *content* is."""
        return next((n for n, version in enumerate(self.versions) if version.content == content), None)

    @property
    def is_certain(self) -> bool:
        """Whether every upload was answered."""
        return all(version.answered_at is not None for version in self.versions)


@dataclass(slots=True)
class Outages:
    """When a server that the service needs was away, on purpose."""

    windows: list[list[float]] = field(default_factory=list)

    @contextmanager
    def one(self) -> Iterator[None]:
        """An outage for the length of the block."""
        window = [time.monotonic(), float("inf")]
        self.windows.append(window)
        try:
            yield
        finally:
            window[1] = time.monotonic()

    def between(self, begun: float, ended: float) -> bool:
        """Whether one fell between these moments."""
        return any(first <= ended and begun <= last for first, last in list(self.windows))


class Loop(ABC):
    """A thread with connections of its own."""

    def __init__(
        self,
        living: list[Living],
        *,
        database_url: str,
        table: str,
        store: S3Server,
        bucket: str,
        grace_seconds: float,
        outages: Outages,
        pause_seconds: float,
        seed: int,
    ) -> None:
        self.living = living
        self.grace_seconds = grace_seconds
        self.outages = outages
        self.random = random.Random(seed)
        self.bucket = Bucket(store, bucket, seconds=REQUEST_SECONDS)
        self.count = 0
        self.interrupted = 0  # by an outage that was made
        self.too_slow = 0  # this machine was: the grace was over before the answer, which A1 forbids to a service
        self.failed: list[str] = []
        self._url = database_url.replace("postgresql+psycopg", "postgresql")
        self._table = table
        self._pause_seconds = pause_seconds
        self._connection: psycopg.Connection[tuple[str]] | None = None
        self._connected_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the act under way."""
        self._stop.set()
        self._thread.join(30)
        self.bucket.close()
        self._disconnect()

    @property
    def is_alive(self) -> bool:
        """Whether it still acts."""
        return self._thread.is_alive()

    def key(self, number: int) -> str:
        """The key that the row names."""
        if self._connection is None:
            self._connected_at = time.monotonic()
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=2)
        found = self._connection.execute(f"SELECT object_key FROM {self._table} WHERE id = %s", (number,)).fetchone()
        assert found is not None
        return found[0]

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self) -> None:
        while not self._stop.wait(self._pause_seconds):
            begun = time.monotonic()
            try:
                self.act()
            except _OUTAGE as error:
                ended = time.monotonic()
                sql = isinstance(error, psycopg.Error)
                if self.outages.between(self._connected_at if sql else begun - 1.0, ended):
                    self.interrupted += 1
                else:
                    self.failed.append(f"{type(error).__name__}: {error}")
                if sql:
                    self._disconnect()

    @abstractmethod
    def act(self) -> None:
        """Do one thing."""


class Reader(Loop):
    """From row to key to object, comparing bytes and headers."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, pause_seconds=READ_PAUSE_SECONDS, **kwargs)  # type: ignore[arg-type]
        self.late = 0  # reads of the version before, after a write to the old key that overlapped the switch (S1)
        self.latest_seconds = 0.0

    def act(self) -> None:
        """Read one asset."""
        written = [one for one in self.living[:] if len(one.versions) > 1] if self.random.random() < RECENT_SHARE else []
        one = self.random.choice(written or self.living)
        begun = time.monotonic()
        key = self.key(one.asset.id)
        at_least, newest = one.known(begun, key=key), one.known(begun)
        content = self.bucket.get(key)
        seconds = time.monotonic() - begun
        if content is None and seconds > self.grace_seconds:
            self.too_slow += 1
            return
        self.count += 1
        if content is None:
            self.failed.append(f"row {one.asset.id} names {key!r}, and there is nothing ({seconds:.2f} s after the row was read)")
            return
        seen = one.version_of(content)
        if seen is None:
            self.failed.append(f"row {one.asset.id} names {key!r}, which holds none of its {len(one.versions)} versions")
        elif seen < at_least:
            self.failed.append(f"row {one.asset.id} names {key!r}, which holds version {seen}, though {at_least} was written there")
        elif seen < newest:
            lag = time.monotonic() - (one.versions[newest].answered_at or 0.0)
            if key != one.asset.new_key:
                self.failed.append(
                    f"row {one.asset.id} names its old key, which holds version {seen} {lag:.1f} s after {newest} was written"
                )
            self.late += 1
            self.latest_seconds = max(self.latest_seconds, lag)


class Writer(Loop):
    """Overwrites assets at the key that their row names."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, pause_seconds=WRITE_PAUSE_SECONDS, **kwargs)  # type: ignore[arg-type]
        self.to_old = 0
        self.overlapping = 0  # the row was switched between being read and being looked at after the write
        self.unanswered = 0

    def act(self) -> None:
        """Overwrite one asset."""
        one = self.random.choice(self.living)
        if not one.is_certain:
            return
        begun = time.monotonic()
        key = self.key(one.asset.id)
        there = self.bucket.get(key)
        if there is None or one.version_of(there) != len(one.versions) - 1:
            return  # a late write that is still to be copied: a person who edits what they see would wait for theirs
        number = len(one.versions)
        body = f"asset {one.asset.id} version {number} ".encode() + self.random.randbytes(self.random.randint(0, 3000))
        content = replace(one.asset.content, body=body)
        if time.monotonic() - begun > self.grace_seconds - 2 * REQUEST_SECONDS:
            self.too_slow += 1
            return
        one.versions.append(Version(content=content, key=key))
        try:
            self.bucket.put(key, content)
        except _OUTAGE:
            self.unanswered += 1
            raise
        if time.monotonic() - begun > self.grace_seconds:
            self.too_slow += 1  # perhaps nobody looks any more: its fate is not asked for
            return
        one.versions[number] = Version(content=content, key=key, answered_at=time.monotonic())
        self.count += 1
        if key == one.asset.old_key:
            self.to_old += 1
            self.overlapping += self.key(one.asset.id) != key
