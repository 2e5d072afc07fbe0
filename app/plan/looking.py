"""What only a look at the object itself tells: locks, customer keys, archive tiers, what a copy would lose. Of a sample, or of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from app.errors import MissingObjectError, ObjectError
from app.fidelity_rules import names
from app.object_store import ReadObject
from app.plan.attributes import Copies, Tally
from app.plan.bucket import BucketWalk
from app.plan.entries import Entries
from app.plan.problems import PARKING, Found, Kind, kind_of

SAMPLE_OBJECTS = 200  # what one in a hundred has is missed by 13 such samples in 100
_LOCKS = ("x-amz-object-lock-mode", "x-amz-object-lock-legal-hold")


@dataclass(slots=True)
class Looked:
    """How many objects were looked at, and what they had."""

    objects: int = 0
    tagged: int = 0
    rows: Counter[Kind] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    @property
    def tagged_share(self) -> float:
        """Tags cost a request more."""
        return self.tagged / self.objects if self.objects else 0.0


class Looker:
    """Looks at objects, and notes what it finds of them."""

    def __init__(self, walk: BucketWalk, found: Found, copies: Copies) -> None:
        self.looked = Looked()
        self._walk = walk
        self._found = found
        self._copies = copies

    def at_sample(self, keys: Sequence[str], *, of: int) -> None:
        """Look at *keys*, which stand for *of* objects."""
        self._look([(key, None, 1) for key in keys])
        for kind, seen in self.looked.rows.items():
            if self.looked.objects < of:
                self._found.extrapolate(kind, add=round(seen * (of - self.looked.objects) / self.looked.objects), looked_at=len(keys))

    def at_each(self, entries: Entries, progress: Callable[[int], None]) -> None:
        """Look at every old object."""
        done = 0
        for block in entries.old_keys():
            self._look(block)
            entries.park(self._parked)
            done += len(block)
            progress(done)

    def _look(self, objects: Iterable[tuple[str, str | None, int]]) -> None:
        asked = list(objects)
        self._parked: list[str] = []
        read = self._walk.read([key for key, _, _ in asked])
        for key, row_id, rows in asked:
            for kind, detail in self._problems(read[key]):
                self.looked.rows[kind] += rows
                self._found.add(kind, row_id, detail, rows=rows, old_key=key)
                if kind in PARKING and row_id is not None:
                    self._parked.append(row_id)

    def _problems(self, read: ReadObject | ObjectError) -> list[tuple[Kind, str]]:
        if isinstance(read, MissingObjectError):
            return []  # counted already, or gone just now
        self.looked.objects += 1
        if isinstance(read, ObjectError):
            return [(kind_of(read), str(read))]
        self.looked.tagged += bool(read.attributes.tag_count)
        return list(self._losses(read))

    def _losses(self, read: ReadObject) -> Iterable[tuple[Kind, str]]:
        headers, lost = read.attributes.headers, self._copies.lost(read)
        self.looked.tally.add(read, lost)
        held = [name for name in _LOCKS if name in headers]
        if held:
            yield Kind.LOCKED, ", ".join(f"{name}: {headers[name]}" for name in held)
        parking = self._copies.policy.parking(lost)
        if parking:
            yield Kind.FIDELITY, f"{names(parking)} cannot be kept"
        elif lost:
            yield Kind.NOT_KEPT, f"{names(lost)} cannot be kept"
