"""The service's live reader and live writer during a round.

Both keep what the README asks: A1 (what they do with a key ends within the grace after they read it), and the writer writes an asset only
after it has seen its newest version there (so that it never leaves two newest versions, one at each key: those would be a conflict).
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import urllib3
from minio.error import S3Error

from tests.acceptance.service import make_asset
from tests.chaos.book import Book, Living, Outages, Version
from tests.chaos.world import open_bucket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.servers import S3Server

READ_PAUSE_SECONDS = 0.02
WRITE_PAUSE_SECONDS = 0.1
READ_SECONDS = 4.0  # much longer than a busy machine takes; shorter than a stalled upload would lock an object for (M5)
WRITE_SECONDS = 2.0  # below the grace, so that a write ends within it
RECENT_SHARE = 0.4  # of the reads go to assets that were written: that is where something could be wrong
MOST_REMOVED_SHARE = 0.05
BODY_BYTES = 3000
_OUTAGE = (OSError, urllib3.exceptions.HTTPError, psycopg.OperationalError, S3Error)


class Loop(ABC):
    """A thread with connections of its own."""

    excused: tuple[type[Exception], ...] = ()  # the machine's fault

    def __init__(
        self,
        book: Book,
        *,
        database_url: str,
        table: str,
        store: S3Server,
        buckets: Sequence[str],
        grace_seconds: float,
        outages: Outages,
        pause_seconds: float,
        request_seconds: float,
        seed: int,
    ) -> None:
        self.book = book
        self.grace_seconds = grace_seconds
        self.outages = outages
        self.random = random.Random(seed)
        self.bucket = open_bucket(store, buckets, seconds=request_seconds)
        self.count = 0
        self.interrupted = 0  # by an outage that was made
        self.too_slow = 0  # this machine was: the grace was over before the answer, which A1 forbids to a service
        self.failed: list[str] = []
        self.table = table
        self._url = database_url.replace("postgresql+psycopg", "postgresql")
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

    def run_sql(self, statement: str, *values: object) -> list[tuple[str]]:
        """One statement in a transaction of its own; gives its rows."""
        if self._connection is None:
            self._connected_at = time.monotonic()
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=2)
        cursor = self._connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def key(self, number: int) -> str | None:
        """The key that the row names, None where there is no row."""
        found = self.run_sql(f"SELECT object_key FROM {self.table} WHERE id = %s", number)
        return found[0][0] if found else None

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
                elif isinstance(error, self.excused):
                    self.too_slow += 1
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
        super().__init__(*args, pause_seconds=READ_PAUSE_SECONDS, request_seconds=READ_SECONDS, **kwargs)  # type: ignore[arg-type]
        self.late = 0  # reads of the version before, after a write to the old key that overlapped the switch (S1)
        self.latest_seconds = 0.0

    def act(self) -> None:
        """Read one asset."""
        recent = list(self.book.recent) if self.random.random() < RECENT_SHARE else []
        one = self.random.choice(recent or self.book.living)
        if one.removing:
            return
        begun = time.monotonic()
        key = self.key(one.asset.id)
        at_least, newest = one.known(begun, key=key), one.known(begun)
        content = self.bucket.get(key) if key is not None else None
        seconds = time.monotonic() - begun
        if content is None and (one.removing or seconds > self.grace_seconds):
            self.too_slow += not one.removing
            return
        self.count += 1
        where = f"row {one.asset.id} names {key!r}"
        if content is None:
            self.failed.append(f"{where}, and there is nothing ({seconds:.2f} s after the row was read)")
            return
        seen = one.version_of(content)
        if seen is None:
            self.failed.append(f"{where}, which holds none of its {len(one.versions)} versions")
        elif seen < at_least:
            self.failed.append(f"{where}, which holds version {seen}, though {at_least} was written there")
        elif seen < newest:
            lag = time.monotonic() - (one.versions[newest].answered_at or 0.0)
            if not one.has_new(key):
                self.failed.append(f"{where}, its old key, which holds version {seen} {lag:.1f} s after {newest} was written")
            self.late += 1
            self.latest_seconds = max(self.latest_seconds, lag)


class Writer(Loop):
    """Replaces, adds and removes assets."""

    excused = (urllib3.exceptions.TimeoutError,)

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, pause_seconds=WRITE_PAUSE_SECONDS, request_seconds=WRITE_SECONDS, **kwargs)  # type: ignore[arg-type]
        self.done: Counter[str] = Counter()

    def act(self) -> None:
        """Write once."""
        kind = self.random.choices(("replaced", "added", "removed"), (80, 10, 10))[0]
        if kind == "removed" and self.done[kind] >= MOST_REMOVED_SHARE * self.book.first:
            kind = "replaced"
        one = self._add() if kind == "added" else self._choose()
        if one is None or (kind == "replaced" and not self._replace(one)) or (kind == "removed" and not self._remove(one)):
            return
        self.done[kind] += 1
        self.count += 1
        self.book.recent.append(one)

    def _choose(self) -> Living | None:
        one = self.random.choice(self.book.living)
        return one if one.is_certain and not one.removing else None

    def _replace(self, one: Living) -> bool:
        """Put new bytes at the key that the row names."""
        begun = time.monotonic()
        key = self.key(one.asset.id)
        there = self.bucket.get(key) if key is not None else None
        if key is None or there is None or one.version_of(there) != len(one.versions) - 1:
            return False  # a late write that is still to be copied: a person who edits what they see would wait for theirs
        number = len(one.versions)
        body = f"asset {one.asset.id} version {number} ".encode() + self.random.randbytes(self.random.randint(0, BODY_BYTES))
        content = replace(one.asset.content, body=body)
        if time.monotonic() - begun > self.grace_seconds - 2 * WRITE_SECONDS:
            self.too_slow += 1
            return False
        one.versions.append(Version(content=content, key=key))  # on record before it is sent
        self.bucket.put(key, content)
        if time.monotonic() - begun > self.grace_seconds:
            self.too_slow += 1  # perhaps nobody looks any more: its fate is not asked for
            return False
        one.versions[number] = Version(content=content, key=key, answered_at=time.monotonic())
        if key == one.asset.old_key:
            self.done["to old keys"] += 1
            self.done["overlapping a switch"] += self.key(one.asset.id) != key
        return True

    def _add(self) -> Living:
        """Add an asset under the old scheme or the new one, its row or its object first (A3)."""
        asset = make_asset(self.book.new_id())
        key = self.random.choice([asset.old_key, asset.new_key])
        one = Living(asset, key=key, answered_at=None)
        self.book.unsure.append(one)
        row = (asset.id, asset.client, key, f"asset {asset.id}")
        row_first = self.random.random() < 0.5
        if row_first:
            self.run_sql(f"INSERT INTO {self.table} VALUES (%s, %s, %s, %s)", *row)
        self.bucket.put(key, asset.content)
        if not row_first:
            self.run_sql(f"INSERT INTO {self.table} VALUES (%s, %s, %s, %s)", *row)
        one.versions[0] = Version(content=asset.content, key=key, answered_at=time.monotonic())
        self.book.unsure.remove(one)
        self.book.living.append(one)
        return one

    def _remove(self, one: Living) -> bool:
        """Take the row out, then delete the object that it named."""
        one.removing = True
        gone = self.run_sql(f"DELETE FROM {self.table} WHERE id = %s RETURNING object_key", one.asset.id)
        one.row_is_gone, one.removed_key = True, gone[0][0]
        self.bucket.remove(one.removed_key)
        one.object_is_gone = True
        return True
