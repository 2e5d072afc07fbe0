"""The world that schedules are played in: the real SQL in memory, a store and a broker in memory, one clock; put back for each schedule.

Every transaction and every request is a scheduling point. A transaction is one step: SQLite lets one writer in at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import event, select

from app.byte_budget import ByteBudget
from app.database import MICROSECONDS, open_engine, transaction
from app.errors import BadKeyError
from app.ledger.moves import MoveLedger
from app.ledger.records import Move, Run
from app.ledger.runs import RunLedger
from app.pipeline import FIRST_STAGES
from app.schema import create_ledger, moves
from app.stages.context import Context
from app.stages.crowd import Crowd
from app.stages.outages import Outages
from app.stages.pace import Pace
from app.stages.small_share import SmallShare
from app.stages.watch import RunWatch
from app.testing import Fault
from app.testing.requests import EPOCH
from tests.builders import ASSETS, WRITES, DatabaseClock, World, share_statements
from tests.model.chance import Tokens
from tests.model.choices import CRASH
from tests.model.contents import DELAYED, NEVER, UPLOADS, VERSIONS, Contents
from tests.model.execution import Execution
from tests.model.lookout import Lookout
from tests.model.oracles import LOOKED, SHOWN, TAKEN, TOUCHED, Oracles
from tests.model.own import FAILS
from tests.model.settling import Settling
from tests.model.touching import Raw, Store, Versions, tables_of
from tests.model.transactions import Transactions
from tests.model.truth import Truth
from tests.model.worlds import OBJECT

LOST_REPLY = "the reply is lost"
HELD_UP = "the request is held up"

_UPLOAD_CALLS = frozenset({"create_upload", "copy_part", "put_part", "complete_upload", "abort_upload"})


@dataclass
class Ground(World):
    """A world whose parties meet in one thread; all schedules begin at the moment at which ``keep`` was called."""

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
        self.raw = Raw(self.engine.raw_connection().driver_connection, self._touch)
        self.raw.execute(ASSETS)
        create_ledger(self.engine)
        self._open_store()
        self.run_ledgers: list[RunLedger] = []
        self._plain = super().worker()
        self.context = self.worker()
        self.run_id = ""
        self._runs: dict[tuple[object, ...], Run] = {}
        self._numbers = {}
        self.results = []
        self.messages = []
        self.tokens = Tokens(self._next_token)
        self._tokens = 0
        self._backup = b""
        self.rows_seeded: frozenset[int] = frozenset()
        self.ends = Settling(self)
        self.lenient = False  # the application breaks what is asked of it: then nothing is destroyed outside of the windows
        self.origin_id = ""  # the run that is taken back
        self.forward = True  # the run gives rows their new keys
        self.run_number = 1
        self.row_due = NEVER  # by when the application has inserted the row of an upload (A3)
        self.any_store = False  # a window of no store in particular
        self.commit_faults: tuple[str, ...] = ()
        self.oracles = Oracles(self)
        self.place = Contents(self)
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
            small=SmallShare(1.0, is_tried=True),  # its objects are
            outages=Outages(),
            crowd=Crowd(load=lambda: (0.0, 0.0), now=self.clock.boot),
        )
        return replace(fresh, **changes)

    def moves(self) -> list[Move]:
        """All moves of the run; the one connection takes no transaction within another."""
        run = self.run
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(select(moves).where(moves.c.run_no == run.no).order_by(moves.c.id)).mappings()
            return [Move.from_row(dict(row)) for row in rows]

    @property
    def run(self) -> Run:
        """The run as it is now; made when it is first asked for, and read out of each row once."""
        if not self.run_id:
            return super().run
        row = self.raw.execute("SELECT * FROM rekey_runs WHERE id = ?", (self.run_id,)).fetchone()
        if row not in self._runs:
            self._runs[row] = self.context.runs.get(self.run_id)
        return self._runs[row]

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
        self.run_number = self.run.no
        where = self.context.settings.where or "1"
        self.rows_seeded = frozenset(number for (number,) in self.raw.execute(f"SELECT id FROM assets WHERE {where}"))
        self._backup = self.raw.connection.serialize()

    def play(self, execution: Execution) -> Lookout:
        """Let *execution* say who goes on from now on."""
        self.execution = execution
        return Lookout(self, execution)

    def _next_token(self) -> tuple[str, int]:
        if self.execution is not None and self.execution.current:
            return self.execution.current, self.execution.count()
        self._tokens += 1
        return "", self._tokens

    def tokens_made(self) -> int:
        """How many the actor at work has made; it begins anew where none of its own is in the ledger."""
        execution = self.execution
        if execution is None:
            return 0
        kept = (
            "lease_token FROM rekey_moves",
            "suspect_token FROM rekey_runs",
            "id FROM rekey_uploads",
            "lease_token FROM rekey_uploads",
            "detail FROM rekey_visits",
        )
        held = self.raw.execute(" UNION ".join(f"SELECT {column}" for column in kept)).fetchall()
        mine = f"{execution.current}-"
        return execution.counted(begin_anew=not any(str(token).startswith(mine) for (token,) in held))

    def touches(self, key: str) -> None:
        """The application writes to a key, or lets a row name it."""
        if self.execution is not None:
            self.execution.note(TOUCHED, key)

    def takes(self, key: str) -> None:
        """The application takes an object away."""
        if self.execution is not None:
            self.execution.note(TAKEN, key)

    def shows(self, keys: Sequence[str]) -> None:
        """The operator's own function is called for the assets that were at *keys*."""
        if self.execution is None or not self.execution.current:
            return
        if self.execution.point(f"the operator's function sees {list(keys)}", faults=(CRASH, FAILS)) == FAILS:
            raise TimeoutError(FAILS)
        for key in keys:
            self.execution.note(SHOWN, key)

    def forget(self) -> None:
        """Forget what is of no consequence."""
        self._tokens = 0
        self.store.calls.clear()

    def sleep(self, seconds: float) -> None:
        """Let time pass for everybody while one party sleeps."""
        if self.execution is not None:
            self.execution.point(f"{seconds:g} s pass")
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
        self.raw.connection.deserialize(self._backup)

    def check_now(self) -> None:
        """Raise ViolationError if the contract is broken at this instant."""
        self.oracles.check(self.keys(), self.contents(), self.truth, self.oracles.ghosts, self.clock.boot())

    # Scheduling points

    def _open_store(self) -> None:
        self.store = self._store = Store(self.behaviour, clock=self.clock, on_call=self._before_request)
        self.store._bucket._versions = Versions(self._touch)

    def _touch(self, name: str, write: bool) -> None:  # noqa: FBT001 - called for every access
        if self.execution is not None:
            self.execution.touch(name, write=write)
            if write and self.behaviour.versioning and name.startswith(OBJECT):
                self.execution.touch(VERSIONS, write=True)

    def _before_statement(self, *call: Any) -> None:  # noqa: ANN401 - SQLAlchemy's own signature
        for name, write in tables_of(call[2]):
            self._touch(name, write)

    def _before_request(self, name: str, key: str) -> None:
        write = name in WRITES
        whole, self._store.next_key = write and not self._store.next_key, False
        if self.execution is None:
            if self.settling:
                self.check_now()  # what the request before it has left
            return
        try:
            thing = self.behaviour.name(key)
        except BadKeyError:
            thing = key
        fault = self.execution.point(f"{name} {key}", faults=self.request_faults if whole else (CRASH,))
        self.execution.note(LOOKED, thing)
        if name in _UPLOAD_CALLS:
            self._touch(UPLOADS, write=True)
        if fault == LOST_REPLY:
            self.store.faults.add(Fault.lose_reply(), on=name, key=key)
        elif fault == HELD_UP:
            self._touch(DELAYED, write=True)
            self.store.faults.add(Fault.delay(), on=name, key=key)
