"""A ledger and its plain model side by side: what is looked at after every step."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import delete, select

from app.database import transaction
from app.ledger.records import Lease, Move, Run
from app.schema import create_ledger, moves, runs, turns
from app.states import OPEN_STATES, TRANSITIONS
from app.testing import InMemoryStore, ManualClock
from tests.builders import make_context, make_settings
from tests.property.ledger_model import Entry, Ledger, RunEntry

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from app.stages.context import Context

STAGES = ("copy", "rename", "delete")


@dataclasses.dataclass(frozen=True, slots=True)
class Ground:
    """A database with a ledger, and the clock that it reads, which stands still but for ``later``."""

    workers: Sequence[Context]
    clock: ManualClock
    note_time: Callable[[], None]

    @classmethod
    def on(cls, engine: Engine, clock: ManualClock, note_time: Callable[[], None] = lambda: None) -> Ground:
        """Two workers on a database that is empty."""
        create_ledger(engine)
        with transaction(engine) as connection:
            connection.exec_driver_sql("CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key VARCHAR(200))")
        store = InMemoryStore(clock=clock)
        return cls([make_context(engine, store, make_settings(), clock=clock) for _ in range(2)], clock, note_time)

    @property
    def engine(self) -> Engine:
        """The database's."""
        return self.workers[0].moves.engine

    def clear(self) -> None:
        """Forget all runs."""
        with transaction(self.engine) as connection:
            for table in (moves, runs, turns):
                connection.execute(delete(table))

    def later(self, seconds: float) -> None:
        """Let time pass, for the machines and for the database."""
        self.clock.advance(seconds)
        self.note_time()


@dataclasses.dataclass(slots=True)
class Holding:
    """A lease as the worker sees that took it: what it has claimed, and not given an outcome yet."""

    worker: Context
    lease: Lease
    moves: dict[tuple[int, int], Move]
    believed: set[tuple[int, int]]


class Checks(RuleBasedStateMachine):
    """Ledger and model side by side, and what must hold of both after every rule."""

    ground: Ground

    def __init__(self) -> None:
        """Begin with an empty ledger."""
        super().__init__()
        self.ground.clear()
        self.model = Ledger(now=0.0)
        self.context = self.ground.workers[0]
        self.ids: dict[int, str] = {}
        self.seen: dict[int, list[tuple[Run, RunEntry]]] = {}  # a run as somebody has read it, now or long ago
        self.holdings: list[Holding] = []
        self.states: dict[tuple[int, int], str] = {}
        self.next_row = 1

    def anything(self, what: Callable[[Entry], object]) -> bool:
        """Whether a move is so."""
        return any(what(entry) for entry in self.model.entries.values())

    def _read(self, no: int) -> Run:
        run = self.context.runs.find(self.ids[no])
        assert run is not None
        self.seen[no].append((run, dataclasses.replace(self.model.runs[no])))
        return run

    def _run(self, data: st.DataObject, *, stale: bool = False, busy: bool = False) -> tuple[Run, RunEntry]:
        """Any run; *busy*: one with open moves, if there is one; *stale*: perhaps as somebody read it long ago."""
        open_in = sorted({each.run for each in self.model.entries.values() if each.is_open})
        no = data.draw(st.sampled_from(open_in if busy and open_in else sorted(self.ids)), label="run")
        if stale and data.draw(st.integers(0, 4)) == 0:
            return self.seen[no][data.draw(st.integers(0, len(self.seen[no]) - 1), label="as it was then")]
        self._read(no)
        return self.seen[no][-1]

    def _suspects(self, data: st.DataObject, run: Run) -> bool:
        return any(each.suspect for each in self.model.of(run.no)) and data.draw(st.booleans(), label="suspects")

    def _stage(self, data: st.DataObject, run: Run) -> str:
        """One that has something to do in this run, if there is one."""
        due = sorted({each.stage for each in self.model.of(run.no) if each.stage})
        return data.draw(st.sampled_from(due or STAGES), label="stage")

    @rule(seconds=st.sampled_from((1, 10, 40, 100, 1000)))
    def later(self, seconds: int) -> None:
        """Never to the very moment at which something ends: what holds then is the clock's own matter."""
        self.ground.later(seconds + 0.001)
        self.model.now += seconds + 0.001

    # What must hold at every instant

    @invariant()
    def ledger_says_what_the_model_says(self) -> None:
        """Row by row; and no state changed but along an arrow of the contract."""
        with transaction(self.ground.engine, read_only=True) as connection:
            rows = connection.execute(select(moves)).mappings().all()
            found = {(row["run_no"], row["id"]): _shown(row) for row in rows}
        expected = {key: _expected(entry) for key, entry in self.model.entries.items()}
        assert found == expected
        for key, shown in found.items():
            before, after = self.states.get(key), shown["state"]
            assert before in {None, after} or (before, after) in TRANSITIONS
            self.states[key] = after
        wanted = [bytes(row["live_hash"]) for row in rows if row["live_hash"] is not None]
        assert len(wanted) == len(set(wanted))
        assert all(row["live_hash"] in {None, row["new_hash"]} for row in rows)

    @invariant()
    def counts_add_up(self) -> None:
        """Every row examined is in one outcome, or open (S8)."""
        for no in self.ids:
            run = self.context.runs.get(self.ids[no])
            entries = self.model.of(no)
            counts: Counter[tuple[Any, ...]] = Counter()
            for count in self.context.queues.counts(run):
                counts[str(count.state), count.reason if count.state in {"parked", "kept"} else None] += count.moves
            assert sum(counts.values()) == self.model.runs[no].examined == len(entries)
            assert counts == Counter((each.state, each.reason if each.state in {"parked", "kept"} else None) for each in entries)
            flying = [each for each in entries if each.state in {"planned", "copied"} and each.due > self.model.now and each.hints]
            assert self.context.queues.in_flight(run) == len(flying)
            assert self.context.queues.is_open(run) == any(each.is_open for each in entries)
            assert (str(run.state), run.is_live) == (self.model.runs[no].state, self.model.runs[no].is_live)

    @invariant()
    def nobody_holds_what_another_one_holds(self) -> None:
        """By the clocks of the workers themselves: whoever believes to hold a move is the only one, and the ledger says so too (S7)."""
        believers: Counter[tuple[int, int]] = Counter()
        for holding in self.holdings:
            if holding.lease.remaining() > 0:
                believers.update(holding.believed)
                for key in holding.believed:
                    assert self.model.entries[key].holder == holding.lease.token
        assert max(believers.values(), default=0) <= 1


def _shown(row: Any) -> dict[str, Any]:  # noqa: ANN401 - a row of the ledger
    names = ("row_id", "old_key", "new_key", "state", "parked_from", "reason", "stage", "lease_token", "deaths")
    shown = {name: row[name] for name in names}
    if row["state"] in OPEN_STATES:
        shown |= {name: row[name] for name in ("hints", "lease_kept", "suspect", "waiting")}
    return shown


def _expected(entry: Entry) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "row_id": entry.row,
        "old_key": entry.old,
        "new_key": entry.new,
        "state": entry.state,
        "parked_from": entry.parked_from,
        "reason": entry.reason,
        "stage": entry.stage,
        "lease_token": entry.holder,
        "deaths": entry.deaths,
    }
    if entry.is_open:
        shown |= {"hints": entry.hints, "lease_kept": entry.kept, "suspect": entry.suspect, "waiting": entry.waiting}
    return shown
