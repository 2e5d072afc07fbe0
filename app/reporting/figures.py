"""All figures of the page, counted in one pass over the moves, so that they agree with each other."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from app.database import MICROSECONDS
from app.ledger.counting import Count
from app.ledger.losses import summed
from app.ledger.reading import NOT_KEPT, Held, ReportLedger
from app.ledger.records import Run, reason_of
from app.redaction import redact
from app.report import lost_of, totals_of
from app.reporting.lines import is_held, plain_row_id
from app.states import COPIED_STATES, SWITCHED_STATES, MoveState

STAGES = ("copied", "renamed", "deleted")
MOST_BINS = 96
SLOWEST = 10
EXAMPLES = 3
LONGEST_SHOWN = 300  # characters of a client, a key or a detail
COLUMNS = (
    "row_id", "client", "state", "parked_from", "reason", "detail", "waiting", "old_key", "claimed_store_time", "copy_store_time",
    "source_size", "intent_at", "copy_size", "switch_store_time", "switched_at", "updated_at", "attempts", "changes", NOT_KEPT,
)  # fmt: skip
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How many assets each stage ended in each bin of time."""

    start: int  # UTC seconds
    step: int  # seconds a bin
    bins: int
    counts: Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How one client's assets fared; ``seconds`` from a worker's first claim to the switch, by the store's clock."""

    name: str
    assets: int
    switched: int
    seconds: float
    most_seconds: int
    size: int
    errors: int
    parked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One parked asset."""

    row_id: str
    key: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Everything that the page shows of the moves."""

    totals: Mapping[str, Any]
    size: int  # bytes of the copies of switched assets
    held: Held  # what old versions still take
    rates: Rates
    clients: Sequence[Client]
    client_count: int
    examples: Mapping[str, Sequence[Example]]  # by reason


def count_figures(ledger: ReportLedger, run: Run, *, now: int) -> Figures:
    """Read all moves of *run* once; *now* ends the time shown of a run that goes on."""
    clock = _Bins(run, now=now)
    counts: Counter[tuple[str, str | None, str | None, bool]] = Counter()
    examples: dict[str, list[Example]] = {}
    lost: Counter[str] = Counter()
    size = held_objects = held_bytes = 0
    versioned = run.capabilities.versioning
    with _Clients() as clients:
        for page in ledger.pages(run, COLUMNS):
            counts.update((row.state, row.parked_from, row.reason, bool(row.waiting)) for row in page)
            for row in page:
                if row.not_kept and (row.parked_from if row.state == MoveState.PARKED else row.state) in COPIED_STATES:
                    lost[row.not_kept] += 1
                if row.state in SWITCHED_STATES:
                    size += row.copy_size or 0
                    if versioned and is_held(row.state, row.intent_at):
                        held_objects, held_bytes = held_objects + 1, held_bytes + (row.source_size or 0)
                elif row.state == MoveState.PARKED:
                    _exemplify(examples.setdefault(row.reason, []), row)
            clock.add(page)
            clients.add(page)
        return Figures(
            totals=totals_of(list(_counts(counts))) | lost_of(summed(lost)),
            size=size,
            held=Held(held_objects, held_bytes),
            rates=clock.rates(),
            clients=clients.slowest(),
            client_count=clients.count(),
            examples=examples,
        )


def _counts(counts: Counter[tuple[str, str | None, str | None, bool]]) -> Iterator[Count]:
    for (state, parked_from, reason, waiting), moves in counts.items():
        at = MoveState(state)
        yield Count(at, MoveState(parked_from) if parked_from else None, reason_of(at, reason), waiting, moves)


def _exemplify(found: list[Example], row: Any) -> None:  # noqa: ANN401 - a row
    if len(found) < EXAMPLES:
        detail = redact(row.detail or "")
        found.append(Example(row_id=str(plain_row_id(row.row_id)), key=row.old_key[:LONGEST_SHOWN], detail=detail[:LONGEST_SHOWN]))


class _Bins:
    """Counts the ends of stages by time. A copy's time is the store's, which may be off by some seconds: it counts in the nearest bin."""

    def __init__(self, run: Run, *, now: int) -> None:
        self._start = run.created_at // MICROSECONDS
        seconds = max(1, -(-((run.finished_at or now) - run.created_at) // MICROSECONDS))
        self._step = next((step for step in _STEPS if seconds <= step * MOST_BINS), -(-seconds // MOST_BINS))
        self._bins = -(-seconds // self._step)
        self._counts: dict[str, Counter[int]] = {stage: Counter() for stage in STAGES}

    def add(self, page: Iterable[Any]) -> None:
        """Count a page of rows."""
        start, step = self._start, self._step
        copied, renamed, deleted = (self._counts[stage] for stage in STAGES)
        for row in page:
            reached = row.parked_from if row.state == MoveState.PARKED else row.state
            if row.copy_store_time is not None and (reached == MoveState.COPIED or reached in SWITCHED_STATES):
                copied[(row.copy_store_time - start) // step] += 1
            if row.switched_at is not None and reached in SWITCHED_STATES:
                renamed[(row.switched_at // MICROSECONDS - start) // step] += 1
            if row.state == MoveState.DELETED:
                deleted[(row.updated_at // MICROSECONDS - start) // step] += 1

    def rates(self) -> Rates:
        """What was counted."""
        shown = {}
        for stage, counts in self._counts.items():
            values = [0] * self._bins
            for number, count in counts.items():
                values[min(max(number, 0), self._bins - 1)] += count
            shown[stage] = values
        return Rates(start=self._start, step=self._step, bins=self._bins, counts=shown)


_CLIENTS = """
CREATE TABLE clients (
    name TEXT PRIMARY KEY, assets INTEGER, switched INTEGER, seconds INTEGER, most INTEGER, size INTEGER, errors INTEGER, parked INTEGER
) WITHOUT ROWID
"""
_ADD = """
INSERT INTO clients VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
    assets = assets + excluded.assets, switched = switched + excluded.switched, seconds = seconds + excluded.seconds,
    most = max(most, excluded.most), size = size + excluded.size, errors = errors + excluded.errors, parked = parked + excluded.parked
"""
_SLOWEST = """
SELECT name, assets, switched, CAST(seconds AS REAL) / switched, most, size, errors, parked FROM clients WHERE switched > 0
ORDER BY 4 DESC, most DESC, name LIMIT ?
"""


class _Clients:
    """Sums by client, in a temporary file: there may be as many clients as assets."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("")
        self._db.execute(_CLIENTS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._db.close()

    def add(self, page: Iterable[Any]) -> None:
        """Add a page of rows."""
        sums: dict[str, list[int]] = {}
        for row in page:
            name = "" if row.client is None else row.client
            sum_ = sums.get(name)
            if sum_ is None:
                sum_ = sums[name] = [0] * 7
            sum_[0] += 1
            if row.state in SWITCHED_STATES:
                seconds = max(0, (row.switch_store_time or 0) - (row.claimed_store_time or row.switch_store_time or 0))
                sum_[1] += 1
                sum_[2] += seconds
                sum_[3] = max(sum_[3], seconds)
                sum_[4] += row.copy_size or 0
            sum_[5] += row.attempts
            sum_[6] += row.state == MoveState.PARKED
        self._db.executemany(_ADD, [(name, *values) for name, values in sums.items()])

    def count(self) -> int:
        """How many clients there are."""
        return int(self._db.execute("SELECT count(*) FROM clients").fetchone()[0])

    def slowest(self) -> list[Client]:
        """Those whose assets took longest on the average."""
        rows = self._db.execute(_SLOWEST, (SLOWEST,))
        return [
            Client(
                name=name[:LONGEST_SHOWN], assets=assets, switched=switched, seconds=seconds, most_seconds=most, size=size, errors=errors,
                parked=parked,
            )
            for name, assets, switched, seconds, most, size, errors, parked in rows
        ]  # fmt: skip
