"""The world that schedules are played in: the real SQL in memory, a store and a broker in memory, one clock; put back for each schedule.

Every transaction and every request is a scheduling point. A transaction is one step: SQLite lets one writer in at a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import event, select

from app.byte_budget import ByteBudget
from app.database import MICROSECONDS, open_engine, transaction
from app.errors import BadKeyError
from app.ledger.moves import MoveLedger
from app.ledger.records import Move
from app.ledger.runs import RunLedger
from app.pipeline import FIRST_STAGES
from app.schema import create_ledger, moves
from app.stages.context import Context
from app.stages.crowd import Crowd
from app.stages.pace import Pace
from app.stages.watch import RunWatch
from app.testing import Fault, InMemoryStore
from app.testing.requests import EPOCH
from tests.builders import ASSETS, WRITES, DatabaseClock, World, share_statements
from tests.model.chance import Tokens
from tests.model.choices import CRASH, ViolationError, WindowError
from tests.model.contents import Contents
from tests.model.execution import Execution
from tests.model.oracles import Oracles
from tests.model.same import comparable_state
from tests.model.settling import Settling
from tests.model.transactions import CLOCK, Transactions
from tests.model.truth import Truth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.pipeline import MoveStage

LOST_REPLY = "the reply is lost"
HELD_UP = "the request is held up"

_TOUCHED: dict[str, list[tuple[str, bool]]] = {}
_TABLE = re.compile(r"(INSERT INTO |UPDATE |DELETE FROM )?\b(assets|rekey_[a-z_]+)\b(?!\.)")


def tables_of(statement: str) -> list[tuple[str, bool]]:
    """The tables that a statement names, and whether it writes them."""
    found = {(f"table {name}", bool(verb)) for verb, name in _TABLE.findall(statement)}
    return sorted(found)


@dataclass(frozen=True, slots=True)
class _Picture:
    """A world as it was at one moment."""

    database: bytes
    objects: dict[str, list[Any]]
    boot: float
    skew: float
    messages: list[tuple[MoveStage | None, list[int]]]
    truth: Truth
    tables: Mapping[str, int]


@dataclass
class Ground(World):
    """A world whose parties meet in one thread, put back before each schedule to the moment at which ``keep`` was called."""

    execution: Execution | None = None
    truth: Truth = field(default_factory=Truth)
    request_faults: tuple[str, ...] = (CRASH, LOST_REPLY)

    def __post_init__(self) -> None:
        self.engine = open_engine("sqlite://")
        share_statements(self.engine)
        self.database_clock = DatabaseClock(self.clock)
        self.database_clock.install(self.engine)
        self.transactions = Transactions(self)
        event.listen(self.engine, "before_cursor_execute", self._before_statement)
        raw: Any = self.engine.raw_connection().driver_connection
        self.raw = raw
        self.raw.execute(ASSETS)
        create_ledger(self.engine)
        self.store = InMemoryStore(self.behaviour, clock=self.clock, on_call=self._before_request)
        self.run_ledgers: list[RunLedger] = []
        self._plain = super().worker()
        self.context = self.worker()
        self.run_id = ""
        self.results = []
        self.messages = []
        self.tokens = Tokens(lambda: self.execution.current if self.execution else "")
        self._picture: _Picture | None = None
        self.rows_seeded: frozenset[int] = frozenset()
        self.ends = Settling(self)
        self.lenient = False  # the application breaks what is asked of it: then nothing is destroyed outside of the windows
        self.origin_id = ""  # the run that is taken back
        self.forward = True  # the run gives rows their new keys
        self.run_number = 1
        self.row_due = float("inf")  # by when the application has inserted the row of an upload (A3)
        self.any_store = False  # a window of no store in particular
        self.commit_faults: tuple[str, ...] = ()
        self.oracles = Oracles(self)
        self.contents_of = Contents(self)
        self.settling = False

    def worker(self, **changes: Any) -> Context:  # noqa: ANN401 - fields of Context
        """A worker that knows nothing yet."""
        fresh = replace(
            self._plain,
            store=self.store,
            moves=MoveLedger(self.engine, hint_seconds=self._plain.settings.hint_seconds, first_stages=FIRST_STAGES),
            runs=RunLedger(self.engine),
            budget=ByteBudget(),
            watch=RunWatch(self._plain.steering, clock=self.clock),
            pace=Pace(),
            crowd=Crowd(load=lambda: (0.0, 0.0), now=self.clock.boot),
        )
        return replace(fresh, **changes)

    def moves(self) -> list[Move]:
        """All moves of the run; the one connection takes no transaction within another."""
        run = self.run
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(select(moves).where(moves.c.run_no == run.no).order_by(moves.c.id)).mappings()
            return [Move.from_row(dict(row)) for row in rows]

    def seconds_to_next(self) -> float:
        """How long nothing is due."""
        ((due_at,),) = self.raw.execute("SELECT min(due_at) FROM rekey_moves WHERE stage IS NOT NULL")
        return 0.0 if due_at is None else max(0.0, due_at / MICROSECONDS - EPOCH - self.clock.boot() - self.database_clock.skew + 0.01)

    def asset(self, number: int, key: str | None = None) -> str:
        """A row and its object, version 1 of the asset that is called like the row."""
        body = f"{number}.1".encode()
        key = self.add(number, key, body=body)
        self.truth.rows[number] = str(number)
        self.truth.living[body] = key
        return key

    def stranger(self, key: str) -> None:
        """An object that no row names, and that is not ours to touch."""
        body = f"stranger.{len(self.truth.living)}".encode()
        self.store.app_put(key, body)
        self.truth.living[body] = key

    # Schedules

    def keep(self) -> None:
        """Let every schedule begin here."""
        objects = {name: list(versions) for name, versions in self.store._bucket._versions.items()}
        self.run_number = self.run.no
        where = self.context.settings.where or "1"
        self.rows_seeded = frozenset(number for (number,) in self.raw.execute(f"SELECT id FROM assets WHERE {where}"))
        tables = self.contents_of.read_all()
        clocks = self.clock.boot(), self.database_clock.skew
        self._picture = _Picture(self.raw.serialize(), objects, *clocks, list(self.messages), self.truth.copy(), tables)

    def begin(self, execution: Execution) -> None:
        """Put everything back, and let *execution* say who goes on from now on."""
        picture = self._picture
        assert picture is not None
        self.raw.deserialize(picture.database)
        self.clock._boot, self.database_clock.skew = picture.boot, picture.skew
        self.store = InMemoryStore(self.behaviour, clock=self.clock, on_call=self._before_request)
        self.store._bucket._versions = {name: list(versions) for name, versions in picture.objects.items()}
        self.messages[:] = picture.messages
        self.truth = picture.truth.copy()
        self.tokens.forget()
        self.execution = execution
        self.row_due = float("inf")
        self.oracles.begin()
        execution.after_step, execution.content = self.oracles.after_step, self.contents_of.content
        self.contents_of.begin(picture.tables)

    def sleep(self, seconds: float) -> None:
        """Let time pass for everybody while one party sleeps."""
        if self.execution is not None:
            self.execution.point(f"{seconds:g} s pass", ("clock", True))
        self.clock.advance(seconds)

    def keys(self) -> dict[int, str]:
        """The key that each row names, without a scheduling point."""
        return dict(self.raw.execute("SELECT id, object_key FROM assets"))

    def object_at(self, key: str) -> bytes | None:
        """What is at a key."""
        found = self.store._bucket.current(self.behaviour.name(key))
        return None if found is None else found.body

    def contents(self) -> dict[str, bytes]:
        """All objects."""
        return {name: versions[-1].body for name, versions in self.store._bucket._versions.items() if versions[-1].body is not None}

    def restore(self) -> None:
        """Set the database back to what it was when the schedule began."""
        assert self._picture is not None
        self.raw.deserialize(self._picture.database)

    def check_now(self) -> None:
        """Raise ViolationError if the contract is broken at this instant."""
        contents = self.contents()
        lost = self.truth.lost(contents)
        if lost:
            body, key = lost
            window = self.lenient and (self.any_store or (not self.behaviour.delete_if_match and self.oracles.in_window(key)))
            kind = WindowError if window else ViolationError
            raise kind(f"S2: {body.decode()}, written to {key}, is nowhere any more")
        if not self.lenient:
            self.truth.check_rows(self.keys(), contents)

    def state(self) -> int:
        """A hash of all that decides what comes."""
        oracles = sorted(self.oracles.damaged), self.database_clock.skew
        return hash((comparable_state(self), repr(self.messages), repr(self.truth), repr(oracles)))

    # Scheduling points

    def _before_statement(self, *call: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own signature
        if self.execution is not None:
            _, _, statement, values, _, many = call
            if statement not in _TOUCHED:
                _TOUCHED[statement] = tables_of(statement)
            self.transactions.note(statement, values, many=many, touches=_TOUCHED[statement])

    def _before_request(self, name: str, key: str) -> None:
        if self.execution is None:
            if self.settling:
                self.check_now()  # what the request before it has left
            return
        write = name in WRITES
        try:
            thing = self.behaviour.name(key)
        except BadKeyError:
            thing = key
        touches = [(f"object {thing}", write), ("listing", name == "list_page"), CLOCK]
        faults = self.request_faults if write else (CRASH,)
        fault = self.execution.point(f"{name} {key}", *touches, faults=faults)
        self.oracles.looks[self.execution.current, thing] = len(self.execution.story)
        if fault == LOST_REPLY:
            self.store.faults.add(Fault.lose_reply(), on=name, key=key)
        elif fault == HELD_UP:
            self.store.faults.add(Fault.delay(), on=name, key=key)
