"""Objects that go part by part: how they are cut, and their parts copied by the store, several at a time, of exactly one version.

A part that failed for a moment is asked for again alone: one refusal in the ten thousand requests of a very large object must not throw
away all that was done. The bytes of a part stay the same, since every part is pinned to the version that was read.
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import accumulate, count
from typing import TYPE_CHECKING, Protocol

from app import backoff
from app.errors import ExpiredRequestError, StoreUnavailableError, UnansweredError
from app.object_store import MAX_PARTS, MIN_PART_BYTES

if TYPE_CHECKING:
    from app.object_store import Deadline, ObjectInfo, ObjectStore

PART_BYTES = 64 * 1024**2  # a part is copied within a request's time-out even by a store that manages 10 MB/s
LONGEST_PART_BYTES = 512 * 1024**2  # of a source whose parts are larger, the layout is not kept
PARTS_AT_ONCE = 8  # of one object, at most
PART_ATTEMPTS = 5
KEEP_SECONDS = 1.0  # a stop is heard, and the lease renewed, in about this time
_JITTER = random.Random()  # noqa: S311 - spreads retries, keeps no secret
_MD5 = re.compile(r"[0-9a-f]{32}").fullmatch
_IN_PARTS = re.compile(r"[0-9a-f]{32}-([1-9]\d*)").fullmatch  # the MD5 of the parts' MD5s, and how many there are

Range = tuple[int, int]  # first and last byte


class Keeper(Protocol):
    """What a copy by parts goes on under. All but ``lend`` and ``give_back`` are called by the thread that began the copy."""

    def keep(self) -> None:
        """Renew what may run out meanwhile, or raise to stop; called about each second."""

    def lend(self) -> bool:
        """Whether one more request may be under way than the caller's own; then it is given back later."""

    def give_back(self) -> None:
        """One request that was lent is over."""

    def begun(self, key: str, upload_id: str) -> None:
        """An upload is there that must not be left behind."""

    def completing(self, upload_id: str, source: ObjectInfo, etag: str) -> None:
        """It is about to become an object, a copy of *source*; *etag* is what most stores will call that."""

    def completed(self, upload_id: str) -> None:
        """It has become an object."""

    def aborted(self, upload_id: str) -> None:
        """It is no more."""


def ranges_of(store: ObjectStore, source: ObjectInfo, *, part_bytes: int, keeper: Keeper) -> list[Range]:
    """How to cut *source*: as it was uploaded, so that the copy gets its ETag, where the store tells how; else in equal parts."""
    sizes = source_layout(store, source, keeper=keeper)
    if not sizes:
        each = max(part_bytes, -(-source.size // MAX_PARTS))
        sizes = [min(each, source.size - first) for first in range(0, source.size, each)]
    ends = list(accumulate(sizes))
    return [(end - size, end - 1) for end, size in zip(ends, sizes, strict=True)]


def source_layout(store: ObjectStore, source: ObjectInfo, *, keeper: Keeper) -> list[int]:
    """The sizes of the parts that *source* was uploaded in, if a copy can have the same; else none.

    Nearly every uploader cuts equal parts and a last one, so two questions are enough; of other layouts each part is asked for.
    """
    found = _IN_PARTS(source.etag)
    parts = int(found[1]) if found else 0
    if not parts or parts > MAX_PARTS or source.size == 0:
        return []
    first = store.part_size(source, 1)
    if first is None:
        return []
    sizes = [first] * (parts - 1) + [source.size - first * (parts - 1)]
    if sizes[-1] <= 0 or sizes[-1] > first or (parts > 1 and store.part_size(source, parts) != sizes[-1]):
        sizes = []
        for number in range(1, parts + 1):
            keeper.keep()
            sizes.append(store.part_size(source, number) or 0)
    fit = all(size >= MIN_PART_BYTES for size in sizes[:-1]) and max(sizes) <= LONGEST_PART_BYTES
    return sizes if fit and len(sizes) == parts and sum(sizes) == source.size else []


def copy_parts(
    store: ObjectStore, source: ObjectInfo, key: str, upload_id: str, ranges: Sequence[Range], *, deadline: Deadline, keeper: Keeper
) -> list[str]:
    """Let the store copy the *ranges* of *source* into an upload; gives the ETags of the parts.

    No request is under way any more when this returns or raises.
    """
    job = _Parts(store, source, key, upload_id, deadline)
    if len(ranges) == 1:
        keeper.keep()
        return [job.copy(1, ranges[0])]
    return job.copy_all(ranges, keeper)


def joined_etag(etags: Sequence[str]) -> str:
    """The ETag of an object whose parts have *etags*, if those are MD5s; else empty."""
    if not all(_MD5(etag) for etag in etags):
        return ""
    return f"{hashlib.md5(bytes.fromhex(''.join(etags)), usedforsecurity=False).hexdigest()}-{len(etags)}"


@dataclass(frozen=True, slots=True)
class _Task:
    number: int
    lent: bool


class _Parts:
    """The parts of one upload."""

    def __init__(self, store: ObjectStore, source: ObjectInfo, key: str, upload_id: str, deadline: Deadline) -> None:
        self._store = store
        self._source = source
        self._key = key
        self._upload_id = upload_id
        self._deadline = deadline
        self._stop = threading.Event()

    def copy(self, number: int, part: Range) -> str:
        """Copy one part."""
        first, last = part
        return self._store.copy_part(self._upload_id, self._key, number, self._source, first=first, last=last, deadline=self._deadline)

    def copy_all(self, ranges: Sequence[Range], keeper: Keeper) -> list[str]:
        """Copy them all: one under the caller's own right to a request, more as they are lent."""
        etags = [""] * len(ranges)
        left = iter(enumerate(ranges, start=1))
        running: dict[Future[str], _Task] = {}
        with ThreadPoolExecutor(PARTS_AT_ONCE, thread_name_prefix="part") as pool:
            try:
                todo = next(left, None)
                while todo is not None or running:
                    keeper.keep()
                    while todo is not None and len(running) < PARTS_AT_ONCE:
                        lent = any(not task.lent for task in running.values())
                        if lent and not keeper.lend():
                            break
                        running[pool.submit(self._copy_patiently, *todo)] = _Task(todo[0], lent)
                        todo = next(left, None)
                    for done in wait(running, timeout=KEEP_SECONDS, return_when=FIRST_COMPLETED).done:
                        task = running.pop(done)
                        if task.lent:
                            keeper.give_back()
                        etags[task.number - 1] = done.result()
            finally:
                self._stop.set()
                wait(running)
                for task in running.values():
                    if task.lent:
                        keeper.give_back()
        return etags

    def _copy_patiently(self, number: int, part: Range) -> str:
        for attempt in count(1):
            try:
                return self.copy(number, part)
            except (StoreUnavailableError, UnansweredError, ExpiredRequestError):
                if attempt >= PART_ATTEMPTS or self._stop.wait(backoff.delay(attempt, base=0.2, cap=5.0, jitter=_JITTER)):
                    raise
        raise AssertionError  # pragma: no cover - count never ends
