"""What lies in the store of ``tests.benchmarks.stub_store``: assets that are computed, and the few objects besides."""

from __future__ import annotations

import re
import tempfile
import time
from array import array
from dataclasses import dataclass
from hashlib import md5
from random import Random

from tests.benchmarks.ground import CLIENTS, new_key, old_key

BODIES = 64
HOUR = 3600
_OLD = re.compile(r"asset-(\d{8})\.png").fullmatch
_NEW = re.compile(r"clients/(\d+)/assets/asset-(\d{8})\.png").fullmatch
_FOLDER = re.compile(r"clients/(\d+)/assets/").fullmatch


@dataclass(frozen=True, slots=True)
class Found:
    """One object as it is answered."""

    body: bytes
    etag: str
    modified: int
    content_type: str


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status


class Assets:
    """The assets by their rule: number n lies at its old key until it is deleted, and at its new one from when it was written there."""

    def __init__(self, count: int, size: int) -> None:
        random = Random(count)
        self.bodies = [random.randbytes(size) for _ in range(BODIES)]
        self.etags = [md5(body, usedforsecurity=False).hexdigest() for body in self.bodies]
        self.count = count
        self.began = int(time.time()) - HOUR
        self.old = bytearray(b"\x01" * count)
        self.new = [bytearray(-(-(count - client) // CLIENTS)) for client in range(CLIENTS)]  # of each client its assets in their order
        self.written = array("L", bytes(8 * count))

    def number(self, key: str) -> tuple[int, bool] | None:
        """Which asset has *key*, and whether as its new one."""
        if match := _OLD(key):
            number, is_new = int(match[1]), False
        elif match := _NEW(key):
            number, is_new = int(match[2]), True
            if number % CLIENTS != int(match[1]):
                return None
        else:
            return None
        return (number, is_new) if number < self.count else None

    def find(self, number: int, *, is_new: bool) -> Found | None:
        """The object of an asset at one of its keys."""
        there = self.new[number % CLIENTS][number // CLIENTS] if is_new else self.old[number]
        if not there:
            return None
        modified = self.written[number] if is_new else self.began
        return Found(self.bodies[number % BODIES], self.etags[number % BODIES], modified, "image/png")

    def write(self, number: int, body: bytes) -> str:
        """Take an asset's object at its new key."""
        if body != self.bodies[number % BODIES]:
            raise RefusedError(501, "these are not the bytes of the asset")
        self.new[number % CLIENTS][number // CLIENTS] = 1
        self.written[number] = int(time.time())
        return self.etags[number % BODIES]

    def delete(self, number: int, *, is_new: bool) -> None:
        """Let it go."""
        if is_new:
            self.new[number % CLIENTS][number // CLIENTS] = 0
        else:
            self.old[number] = 0

    def listed(self, prefix: str, after: str, limit: int) -> list[tuple[str, Found]]:
        """The first objects of a folder beyond *after*, one more than *limit* if there are so many."""
        folder = _FOLDER(prefix)
        client = int(folder[1]) if folder else 0
        if prefix and (folder is None or client >= CLIENTS):
            return []
        states = self.new[client] if folder else self.old
        name, every = (new_key, CLIENTS) if folder else (old_key, 1)
        low, high = 0, len(states)
        while low < high:  # the first one beyond
            middle = (low + high) // 2
            low, high = (middle + 1, high) if name(client + every * middle) <= after else (low, middle)
        found = []
        while len(found) <= limit and (low := states.find(1, low)) >= 0:
            number = client + every * low
            there = self.find(number, is_new=bool(folder))
            if there is not None:
                found.append((name(number), there))
            low += 1
        return found

    def recount(self) -> dict[str, int]:
        """How many lie at their old and at their new keys."""
        return {"old": self.old.count(1), "new": sum(states.count(1) for states in self.new)}


class Others:
    """All other objects: the product's own. Their bytes are in a file, since a journal of a million deletes has some hundred MiB."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._end = 0
        self._known: dict[str, tuple[int, int, Found]] = {}

    def find(self, key: str) -> Found | None:
        """An object with its bytes."""
        known = self._known.get(key)
        if known is None:
            return None
        first, size, found = known
        self._file.seek(first)
        return Found(self._file.read(size), found.etag, found.modified, found.content_type)

    def write(self, key: str, body: bytes, content_type: str) -> str:
        """Keep an object."""
        etag = md5(body, usedforsecurity=False).hexdigest()
        self._file.seek(self._end)
        self._file.write(body)
        self._known[key] = (self._end, len(body), Found(b"", etag, int(time.time()), content_type))
        self._end += len(body)
        return etag

    def delete(self, key: str) -> None:
        """Let it go."""
        self._known.pop(key, None)

    def listed(self, prefix: str, after: str) -> list[tuple[str, Found]]:
        """All below *prefix* beyond *after*; they are few."""
        return [(key, known[2]) for key, known in sorted(self._known.items()) if key.startswith(prefix) and key > after]

    def size(self, key: str) -> int:
        """The bytes of one that is there."""
        return self._known[key][1]


_iso_dates: dict[int, str] = {}
_http_dates: dict[int, str] = {}


def iso_date(seconds: int) -> str:
    """A time as listings have it."""
    if seconds not in _iso_dates:
        _iso_dates[seconds] = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
    return _iso_dates[seconds]


def http_date(seconds: int) -> str:
    """A time as headers have it."""
    if seconds not in _http_dates:
        _http_dates[seconds] = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(seconds))
    return _http_dates[seconds]
