"""What the objects that were looked at have besides their bytes, and what their copies would lack: counted by attribute, with examples."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.copying import SINGLE_COPY_BYTES
from app.fidelity import Fates, Way, found_in, least_lost
from app.fidelity_rules import READERS, Attribute, Policy
from app.object_store import ReadObject

EXAMPLES = 3  # of each attribute
_SURE = 1.96  # standard deviations: 95 in 100 such samples have the truth between the two figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """How a run would copy, as far as that decides what is lost."""

    fates: Fates
    by_store: bool
    inline_bytes: int
    policy: Policy

    def lost(self, read: ReadObject) -> frozenset[Attribute]:
        """What the copy of an object would lack."""
        small = read.info.size <= self.inline_bytes
        ways = [Way.COPY] if self.by_store and read.info.size <= SINGLE_COPY_BYTES else []
        return least_lost(read.attributes, self.fates, [*ways, Way.PUT if small else Way.PARTS], self.policy)


@dataclass(slots=True)
class Tally:
    """Counts of the objects that were looked at."""

    objects: int = 0
    has: Counter[Attribute] = field(default_factory=Counter)
    lost: Counter[Attribute] = field(default_factory=Counter)
    examples: dict[Attribute, list[str]] = field(default_factory=dict)

    def add(self, read: ReadObject, lost: frozenset[Attribute]) -> None:
        """Count one object."""
        self.objects += 1
        self.lost.update(lost)
        found = found_in(read.attributes) | lost
        self.has.update(found)
        for one in found:
            shown = self.examples.setdefault(one, [])
            if len(shown) < EXAMPLES:
                shown.append(read.info.key)

    def as_objects(self, *, of: int, classes: Mapping[str, int], policy: Policy) -> list[dict[str, Any]]:
        """For JSON: of *of* objects, about how many have each attribute. *classes*: storage classes, which a listing shows of all."""
        cool = sum(classes.values())
        rows = []
        for one in Attribute:
            if not self.has[one] and not (one is Attribute.STORAGE_CLASS and cool):
                continue
            exact = self.objects >= of
            has, lost = between(self.has[one], self.objects, of), between(self.lost[one], self.objects, of)
            if one is Attribute.STORAGE_CLASS and cool:
                has = (cool, cool, cool)
            rows.append(
                {
                    "attribute": str(one),
                    "seen_by": "readers" if one in READERS else "owners",
                    "rule": str(policy.rule(one)),
                    "objects": has[0],
                    "objects_between": list(has[1:]),
                    "lost": lost[0],
                    "lost_between": list(lost[1:]),
                    "estimated": not exact,
                    "examples": self.examples.get(one, []),
                }
            )
        return rows


def between(seen: int, looked_at: int, of: int) -> tuple[int, int, int]:
    """Of *of* objects about how many are as *seen* of *looked_at* drawn at random were: likely, at least, at most (Wilson, 95 in 100)."""
    if not looked_at or looked_at >= of:
        return seen, seen, seen if looked_at else of
    share, weight = seen / looked_at, _SURE**2 / looked_at
    middle = (share + weight / 2) / (1 + weight)
    half = _SURE * math.sqrt(share * (1 - share) / looked_at + weight / (4 * looked_at)) / (1 + weight)
    least, most = max(seen, math.floor((middle - half) * of)), min(of - looked_at + seen, math.ceil((middle + half) * of))
    return min(max(round(share * of), least), most), least, most
