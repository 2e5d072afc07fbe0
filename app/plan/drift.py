"""How far a table has moved away from a plan: a count, and some rows that are planned once more."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine

from app.assets import Assets
from app.database import transaction
from app.planning import Plan, Rules

SAMPLE_ROWS = 5000  # 1 % of drift is seen as 0.7 to 1.3 %; a smaller table is compared whole
ROWS_A_QUERY = 500


@dataclass(frozen=True, slots=True)
class Planned:
    """One row of the sample."""

    row_id: str
    digest: str
    old_key: str
    new_key: str
    moves: bool


@dataclass(slots=True)
class RowSample:
    """Rows of a table that passes by, each equally likely to be among them (a reservoir)."""

    rows: list[Planned] = field(default_factory=list)
    seen: int = 0
    chance: random.Random = field(default_factory=random.Random)

    def offer(self, plan: Plan) -> None:
        """Perhaps take the row of *plan*."""
        self.seen += 1
        place = len(self.rows) if self.seen <= SAMPLE_ROWS else self.chance.randrange(self.seen)
        if place >= SAMPLE_ROWS:
            return
        moves = plan.reason is None and not plan.in_place
        made = Planned(plan.row_id, digest(plan), plan.old_key, plan.new_key, moves)
        if place == len(self.rows):
            self.rows.append(made)
        else:
            self.rows[place] = made

    def fingerprint(self, *, nameless: int = 0) -> dict[str, Any]:
        """What a plan keeps of it; *nameless* rows, which no page shows, are counted later too."""
        return {"rows": self.seen + nameless, "sample": {planned.row_id: planned.digest for planned in self.rows}}


def digest(plan: Plan) -> str:
    """What is to become of one row, in 16 letters."""
    said = json.dumps([plan.old_key, plan.new_key, plan.in_place, plan.reason])
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Shares of the planned rows: gone or changed as seen in the sample, and how many more there are than those that stayed."""

    rows_then: int
    rows_now: int
    gone: float
    changed: float

    @property
    def added(self) -> float:
        """Rows that came, as a share of those planned."""
        if not self.rows_then:
            return 1.0 if self.rows_now else 0.0
        return max(0.0, self.rows_now / self.rows_then - (1.0 - self.gone))

    @property
    def share(self) -> float:
        """All together."""
        return self.gone + self.changed + self.added

    def __str__(self) -> str:
        parts = {"new": self.added, "changed": self.changed, "gone": self.gone}
        said = ", ".join(f"{100 * share:.2g} % {name}" for name, share in parts.items() if share)
        return f"{self.rows_now} rows now, {self.rows_then} then" + (f" ({said})" if said else "")


def measure(fingerprint: Mapping[str, Any], *, engine: Engine, assets: Assets, rules: Rules, rows_now: int) -> Drift:
    """Compare a plan's fingerprint with the table as it is."""
    sample: Mapping[str, str] = fingerprint["sample"]
    gone = changed = 0
    for chunk in _chunks(list(sample)):
        with transaction(engine, read_only=True) as connection:
            rows = assets.rows(connection, chunk, selected=True)
        gone += len(chunk) - len(rows)
        changed += sum(digest(rules.plan(row)) != sample[row_id] for row_id, row in rows.items())
    looked_at = max(len(sample), 1)
    return Drift(rows_then=int(fingerprint["rows"]), rows_now=rows_now, gone=gone / looked_at, changed=changed / looked_at)


def _chunks(row_ids: Sequence[str]) -> list[Sequence[str]]:
    return [row_ids[start : start + ROWS_A_QUERY] for start in range(0, len(row_ids), ROWS_A_QUERY)]
