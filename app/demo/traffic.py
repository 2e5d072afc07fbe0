"""The live reader and the live writer of the service: each a thread with connections of its own, at work as long as the run is.

The reader goes from row to key to object and compares what it gets with the book. The writer replaces, adds and removes assets as a
service would. Both keep to what the README asks of a service: A1, they act on a key within the grace after they read it.
"""

from __future__ import annotations

import random
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from dataclasses import dataclass, field

from app.demo.service import TROUBLE, Asset, Bucket, Found, Table, Version, in_words, new_key, upload

READ_PAUSE_SECONDS = 0.005
WRITE_PAUSE_SECONDS = 0.05
RECENT_SHARE = 0.3  # of the reads go to what was written last: that is where something could be wrong
MAX_REMOVED_SHARE = 0.05
MAX_BODY_BYTES = 64 * 1024
# A service that writes an asset twice within the grace, once by the old key and once by the new one, leaves two newest versions: both
# are kept and the row is parked (`conflict`). This one does not write so fast to one asset.
REST_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """All assets of the service, and those written last."""

    assets: list[Asset]
    recent: deque[Asset] = field(default_factory=lambda: deque(maxlen=50))


class Loop(ABC):
    """A thread that does one act after the other until it is stopped; then it closes *table* and *bucket*, which are its own."""

    def __init__(self, table: Table, bucket: Bucket, *, pause_seconds: float, seed: int) -> None:
        self._table = table
        self._bucket = bucket
        self._pause_seconds = pause_seconds
        self._random = random.Random(seed)  # noqa: S311 - chooses assets, keeps no secret
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self.failed: list[str] = []

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the act under way; safe to repeat."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._table.close()
        self._bucket.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_seconds):
            try:
                self.act()
            except TROUBLE as error:
                self.failed.append(in_words(error))
            except Exception as error:  # noqa: BLE001 - a fault of the demonstration's own must not pass for a service at work
                self.failed.append(in_words(error))
                return

    @abstractmethod
    def act(self) -> None:
        """Do one thing."""


class Reader(Loop):
    """Reads assets and judges what it gets."""

    def __init__(self, book: Book, *, table: Table, bucket: Bucket, grace_seconds: float, late_seconds: float) -> None:
        super().__init__(table, bucket, pause_seconds=READ_PAUSE_SECONDS, seed=1)
        self._book = book
        self._grace_seconds = grace_seconds
        self._late_seconds = late_seconds
        self.count = 0
        self.late = 0  # reads that got the version before, after a write that overlapped the switch (S1)
        self.latest_seconds = 0.0  # how long after its write the version before was still read, at most

    def act(self) -> None:
        """Read one asset."""
        asset = self._choose()
        if asset is None or not asset.settled or asset.removed_at is not None:
            return
        self.count += 1
        problem = self._read(asset)
        if problem:
            self.failed.append(f"asset {asset.id} of client {asset.client}: {problem}")

    def _choose(self) -> Asset | None:
        if self._random.random() < RECENT_SHARE:
            recent = list(self._book.recent)
            if recent:
                return self._random.choice(recent)
        return self._random.choice(self._book.assets) if self._book.assets else None

    def _read(self, asset: Asset) -> str | None:
        """From row to key to object; None if all is well, else what is wrong."""
        while True:
            begun = time.monotonic()
            known = max(at for at, version in enumerate(asset.versions) if version.answered_at <= begun)
            key = self._table.key(asset.id)
            found = self._bucket.get(key) if key is not None else None
            if found is None and asset.removed_at is not None and self._table.key(asset.id) is None:
                return None  # the writer removed it between our two looks
            problem = self._judge(asset, known, key, found, begun)
            if problem is None or time.monotonic() - begun <= self._grace_seconds:
                return problem
            # Later than the grace a key that was read from a row is good for nothing (A1), so the row is read again.

    def _judge(self, asset: Asset, known: int, key: str | None, found: Found | None, begun: float) -> str | None:
        if key is None:
            return "its row is gone"
        if found is None:
            return f"no object {key!r}"
        if any(found.is_version(version) for version in asset.versions[known:]):
            return None
        newest = asset.versions[known]
        if self._may_be_late(newest, key, begun) and any(found.is_version(version) for version in asset.versions[:known]):
            self.late += 1
            self.latest_seconds = max(self.latest_seconds, begun - newest.answered_at)
            return None
        return f"other bytes or another content type at {key!r} than were written last"

    def _may_be_late(self, newest: Version, key: str, begun: float) -> bool:
        """S1: a write to the old key that overlaps the switch shows at the new key after the next look, within a bounded time."""
        return newest.key != key and begun - newest.answered_at <= self._late_seconds


class Writer(Loop):
    """Replaces, adds and removes assets."""

    def __init__(self, book: Book, *, table: Table, bucket: Bucket, grace_seconds: float) -> None:
        super().__init__(table, bucket, pause_seconds=WRITE_PAUSE_SECONDS, seed=2)
        self._book = book
        self._grace_seconds = grace_seconds
        self._next_id = max((asset.id for asset in book.assets), default=0) + 1
        self._may_remove = int(len(book.assets) * MAX_REMOVED_SHARE)
        self.done: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """All writes so far."""
        return self.done.total()

    def act(self) -> None:
        """Write once."""
        kind = self._random.choices(("replaced", "added", "removed"), (70, 15, 15))[0]
        if kind == "removed" and self.done[kind] >= self._may_remove:
            kind = "replaced"
        asset = self._add() if kind == "added" else self._choose()
        if asset is None:
            return
        asset.written_at = time.monotonic()
        if kind == "replaced":
            self._replace(asset)
        elif kind == "removed":
            self._remove(asset)
        self.done[kind] += 1
        self._book.recent.append(asset)

    def _choose(self) -> Asset | None:
        """An asset that may be written now, if one is found soon."""
        rested = time.monotonic() - REST_SECONDS
        for asset in self._random.sample(self._book.assets, min(20, len(self._book.assets))):
            if asset.settled and not asset.fixed and asset.removed_at is None and asset.written_at < rested:
                return asset
        return None

    def _body(self, asset: Asset) -> bytes:
        return f"{asset.id} {len(asset.versions)}\n".encode() + self._random.randbytes(self._random.randrange(MAX_BODY_BYTES))

    def _replace(self, asset: Asset) -> None:
        """Read the row's key and put new bytes there; slower than the grace, the key may be no good any more (A1): once more."""
        body = self._body(asset)
        content_type = asset.newest.content_type
        in_time = False
        while not in_time:
            begun = time.monotonic()
            key = self._table.key(asset.id)
            if key is None:
                raise OSError(f"the row of asset {asset.id} is gone")
            upload(self._bucket, asset, body, content_type, key=key)
            in_time = time.monotonic() - begun <= self._grace_seconds

    def _add(self) -> Asset:
        """Upload to the new scheme, then add the row: at no moment does a row name what is not there."""
        model = self._random.choice(self._book.assets)
        name = f"new-{self._next_id}.txt"
        asset = Asset(id=self._next_id, client=model.client, name=name, first_key=new_key(model.client, name))
        self._next_id += 1
        upload(self._bucket, asset, self._body(asset), "text/plain", key=asset.first_key)
        self._table.insert([(asset.id, asset.client, name, "text/plain", asset.first_key)])
        asset.settled = True
        self._book.assets.append(asset)
        return asset

    def _remove(self, asset: Asset) -> None:
        """Take the row out, then delete the object that it named."""
        asset.removed_at = time.monotonic()
        asset.removed_key = self._table.delete(asset.id)
        if asset.removed_key is not None:
            self._bucket.remove(asset.removed_key)
