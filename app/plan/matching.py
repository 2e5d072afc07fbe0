"""Rows against bucket: a merge of the sorted entries with the walk through the bucket, one key at a time.

A key's entries come role by role, so that nothing but counts and a few examples is held, even where a million rows name one object.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.copying import SINGLE_COPY_BYTES, SMALL_BYTES
from app.errors import BadKeyError, ObjectError
from app.large_copies import PART_BYTES
from app.object_store import ARCHIVES, MAX_PARTS, ObjectInfo
from app.plan.bucket import BucketWalk, Seen
from app.plan.entries import Entries, Entry, Role
from app.plan.problems import EXAMPLES, PARKING, Found, Kind, kind_of

TOO_LARGE_BYTES = MAX_PARTS * PART_BYTES  # above this parts are made larger than what is copied in time for sure
PARK_AT = 1000


@dataclass(slots=True)
class Sizes:
    """What is to be copied, a row each."""

    rows: int = 0
    bytes: int = 0
    in_parts: int = 0  # rows whose object is too large for one request
    bytes_in_parts: int = 0
    parts: int = 0
    small: int = 0  # rows whose object may go by snowball
    bytes_small: int = 0
    renamed_etags: int = 0  # uploaded in parts: the copy's ETag will be another


@dataclass(slots=True)
class Sample:
    """Some old keys whose objects are there, each equally likely to be among them."""

    size: int
    keys: list[str] = field(default_factory=list)
    seen: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def offer(self, key: str) -> None:
        """Perhaps take *key*."""
        self.seen += 1
        if len(self.keys) < self.size:
            self.keys.append(key)
        elif (place := self.chance.randrange(self.seen)) < self.size:
            self.keys[place] = key


class Matching:
    """Counts what each key's entries and its object make of each other."""

    def __init__(
        self, entries: Entries, walk: BucketWalk, found: Found, *, inline_bytes: int, sample: Sample, suffixes: bool = False
    ) -> None:
        self.sizes = Sizes()
        self.in_place = 0
        self.classes: Counter[str] = Counter()  # of the objects to copy, but for the standard one
        self.waiting = 0  # rows whose new key is the old key of another row: they go second
        self._entries = entries
        self._walk = walk
        self._found = found
        self._single_bytes = inline_bytes
        self._sample = sample
        self._suffixes = suffixes  # whether a row whose new key is another asset's gets one of its own
        self._suffixed: list[str] = []
        self._parked: list[str] = []
        self._key = ""
        self._seen: Seen = None
        self._counts = [0, 0, 0, 0]
        self._first: list[str | None] = []

    def run(self, progress: Callable[[int], None]) -> None:
        """Match everything; *progress* is called with the number of entries done."""
        done = 0
        for block in self._entries.blocks():
            seen = self._look(block)
            for key, role, row_id in block:
                if key != self._key:
                    self._end_key()
                    self._key, self._seen = key, seen[key]
                self._take(role, row_id)
                done += 1
            progress(done)
        self._end_key()
        self._flush()
        self._walk.finish()

    def _look(self, block: Sequence[Entry]) -> dict[str, Seen]:
        roles: dict[str, int] = {}  # of each key the first, which tells whether a row names it
        for key, role, _ in block:
            roles.setdefault(key, role)
        seen = self._walk.find(list(roles))
        absent = [key for key, role in roles.items() if seen[key] is None and role <= Role.PLACED]
        return seen | self._walk.verify(absent) if absent else seen

    def _take(self, role: int, row_id: str | None) -> None:
        self._counts[role] += 1
        if role == Role.OLD:
            self._old(row_id)
        elif role == Role.PLACED:
            self._placed(row_id)
        elif role == Role.NEW:
            self._new(row_id)

    def _old(self, row_id: str | None) -> None:
        if len(self._first) < EXAMPLES:
            self._first.append(row_id)
        seen = self._seen
        if not isinstance(seen, ObjectInfo):
            self._lacking(row_id)
            return
        if seen.storage_class in ARCHIVES:
            self._add(Kind.ARCHIVED, row_id, f"its storage class is {seen.storage_class}")
            return
        if self._counts[Role.OLD] == 1:
            self._sample.offer(self._key)
            if seen.storage_class not in {None, "STANDARD"}:
                self.classes[str(seen.storage_class)] += 1
        sizes = self.sizes
        sizes.rows += 1
        sizes.bytes += seen.size
        sizes.renamed_etags += "-" in seen.etag
        if seen.size <= SMALL_BYTES:
            sizes.small += 1
            sizes.bytes_small += seen.size
        if ("-" in seen.etag) != (seen.size > self._single_bytes):
            self._found.add(Kind.ETAG, row_id, f"ETag {seen.etag}")
        if seen.size > self._single_bytes:
            sizes.in_parts += 1
            sizes.bytes_in_parts += seen.size
            sizes.parts += -(-seen.size // PART_BYTES) if seen.size <= TOO_LARGE_BYTES else MAX_PARTS
            if seen.size > TOO_LARGE_BYTES:
                self._add(Kind.TOO_LARGE, row_id, f"{seen.size} bytes")

    def _placed(self, row_id: str | None) -> None:
        if isinstance(self._seen, ObjectInfo):
            self.in_place += 1
            self._found.add(Kind.IN_PLACE, row_id)
        else:
            self._lacking(row_id)

    def _new(self, row_id: str | None) -> None:
        counts = self._counts
        if self._suffixes and row_id is not None and (counts[Role.NEW] > 1 or counts[Role.PLACED] or counts[Role.NAMED]):
            self._suffixed.append(row_id)
            if len(self._suffixed) >= PARK_AT:
                self._flush()
        elif counts[Role.NEW] > 1:
            self._add(Kind.COLLISION, row_id, f"{counts[Role.NEW] - 1} other row(s) before it get the key {self._key!r} too")
        elif counts[Role.PLACED] or counts[Role.NAMED]:
            self._add(Kind.TARGET_EXISTS, row_id, "another row names the new key")
        elif counts[Role.OLD]:
            self.waiting += 1
        elif isinstance(self._seen, ObjectInfo):
            self._add(Kind.TARGET_EXISTS, row_id, f"an object of {self._seen.size} bytes that no row names is at the new key")
        elif isinstance(self._seen, BadKeyError):  # any other refusal of a HEAD says nothing of a write
            self._add(Kind.BAD_NAME, row_id, f"new key: {self._seen}")

    def _lacking(self, row_id: str | None) -> None:
        if isinstance(self._seen, ObjectError):
            self._add(kind_of(self._seen), row_id, str(self._seen))
        else:
            self._add(Kind.MISSING_SOURCE, row_id, f"no object {self._key!r}")

    def _end_key(self) -> None:
        olds = self._counts[Role.OLD]
        if olds and olds + self._counts[Role.PLACED] + self._counts[Role.NAMED] > 1:
            others = sum(self._counts[: Role.NEW]) - 1
            for number, row_id in enumerate(self._first):
                self._found.add(Kind.SHARED, row_id, f"{others} other row(s) name its object", rows=0 if number else olds)
        self._counts = [0, 0, 0, 0]
        self._first = []

    def _add(self, kind: Kind, row_id: str | None, detail: str) -> None:
        self._found.add(kind, row_id, detail)
        if kind in PARKING and row_id is not None:
            self._parked.append(row_id)
            if len(self._parked) >= PARK_AT:
                self._flush()

    def _flush(self) -> None:
        self._entries.park(self._parked)
        self._entries.suffix(self._suffixed)
        self._parked, self._suffixed = [], []


def single_bytes(*, copies_by_store: bool, inline_bytes: int) -> int:
    """Up to which size an object takes one request to write."""
    return SINGLE_COPY_BYTES if copies_by_store else inline_bytes
