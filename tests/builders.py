"""Builders for the tests of ledger and stages: a world with an SQLite file, a store in memory, one clock for all, and the real stages.

``World.go`` drives a run as the tasks do, hint by hint, without a broker; each part of it can be driven alone.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine, event, func, select, text, update

from app.assets import Assets
from app.byte_budget import ByteBudget
from app.database import MICROSECONDS, open_engine, transaction
from app.ledger.moves import MoveLedger
from app.ledger.plans import PlanLedger
from app.ledger.queues import QueueLedger
from app.ledger.records import JOURNAL_MARK, Lease, Move, Run
from app.ledger.reopening import ReopenLedger
from app.ledger.rollbacks import RollbackLedger
from app.ledger.runs import RunLedger
from app.ledger.steering import SteerLedger
from app.pipeline import BY_NAME, FIRST_STAGES, MOVE_STAGES, SEED, MoveStage
from app.planning import Plan, Rules, rules_of
from app.reconcile import Found, reconcile
from app.report import snapshot
from app.run_settings import table_names
from app.schema import create_ledger, moves, runs
from app.settings import Settings, load
from app.stages.batch import Result
from app.stages.context import Context
from app.stages.crowd import Crowd
from app.stages.own_stage import call_own_stage
from app.stages.runner import run_stage
from app.stages.seed_moves import Seeded, seed_moves
from app.stages.watch import RunWatch
from app.states import OPEN_STATES, MoveState, RunKind, RunState
from app.testing import Behaviour, InMemoryStore, ManualClock
from app.testing.requests import EPOCH
from app.testing.versions import CONDITIONAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pytest

    from app.object_store import ReadObject

BUCKET = "assets"
HOST = "worker-1"
ASSETS = "CREATE TABLE assets (id INTEGER PRIMARY KEY, client_id INTEGER, object_key TEXT, title TEXT)"
MOVE_TIMES = ("lease_until", "not_before", "due_at", "switched_at", "grace_from", "intent_at", "updated_at")
RUN_TIMES = ("seed_due_at", "suspect_until", "deletes_held_until", "tick_at", "created_at")
WRITES = frozenset({"put", "copy", "put_snowball", "create_upload", "copy_part", "put_part", "complete_upload", "delete"})


@dataclass
class DatabaseClock:
    """The clock of an SQLite database under test: the test's boot clock, and by how much it was set wrong."""

    clock: ManualClock
    skew: float = 0.0

    def install(self, engine: Engine) -> None:
        """Let ``database_now`` read this clock in each connection of *engine*."""
        event.listen(engine, "connect", lambda connection, _: connection.create_function("julianday", 1, self._julian_day))

    def _julian_day(self, _now: str) -> float:
        return 2440587.5 + (EPOCH + self.clock.boot() + self.skew) / 86400


def share_statements(engine: Engine) -> None:
    """Let all SQLite engines of the tests share what they have compiled: that takes most of a short test's time."""
    if not _SHARED:
        _SHARED.append(engine)
        return
    engine.dialect = _SHARED[0].dialect
    engine._compiled_cache = _SHARED[0]._compiled_cache


def _content(file: Path) -> bytes:
    """An SQLite file as it would be without its write-ahead log."""
    with closing(sqlite3.connect(file)) as connection:
        return connection.serialize()


_SHARED: list[Engine] = []
_EMPTY: dict[str, bytes] = {}  # files with nothing in their tables, by how the assets table is made


def make_settings(**values: Any) -> Settings:  # noqa: ANN401 - any setting
    """Settings for a table called assets; short waits and no journal, so that tests read easily."""
    waits = {"grace_seconds": 60, "settle_seconds": 30}
    plain = {"s3_bucket": BUCKET, "table": "assets", "copy_concurrency": 1, "journal": False, "canary_reads": 0}
    plain |= {"adapt": False, "guard_percent": 0, **waits, **values}
    return load({name: value for name, value in plain.items() if value is not None}, environ={}, required=())


def make_context(engine: Engine, store: InMemoryStore, settings: Settings, *, clock: ManualClock) -> Context:
    """A worker's context on *engine* and *store*."""
    rules = rules_of(settings, store.capabilities)
    assets = Assets(engine, table_names(settings), rules.equivalence)
    return Context(
        store=store,
        assets=assets,
        moves=MoveLedger(engine, hint_seconds=settings.hint_seconds, first_stages=FIRST_STAGES),
        runs=RunLedger(engine),
        plans=PlanLedger(engine, hint_seconds=settings.hint_seconds, first_stage=SEED.next or ""),
        queues=QueueLedger(engine, hint_seconds=settings.hint_seconds),
        rules=dataclasses.replace(rules, longest_key=assets.longest_key),
        settings=settings,
        clock=clock,
        budget=ByteBudget(),
        stopping=lambda: False,
        steering=SteerLedger(engine),
        reopening=ReopenLedger(engine, first_stages=FIRST_STAGES),
        rollbacks=RollbackLedger(engine, hint_seconds=settings.hint_seconds, first_stage=SEED.next or ""),
        watch=RunWatch(SteerLedger(engine), clock=clock),
        wait=clock.advance,
        room=ByteBudget(10_000),
        crowd=Crowd(load=lambda: (0.0, 0.0)),  # as on an idle machine: what a test does depends on no other one
    )


def make_run(context: Context, *, rows: int = 0, **more: Any) -> Run:  # noqa: ANN401 - steps, and columns of the run
    """A new run as ``rekey enqueue`` makes it."""
    return context.runs.create(
        bucket=context.settings.s3_bucket,
        table_name=more.pop("table_name", context.settings.table),
        settings={"grace_seconds": context.settings.grace_seconds},
        capabilities=dataclasses.asdict(context.store.capabilities),
        rows=rows,
        user="tester",
        version="0",
        **more,
    )


def make_plan(number: int, *, rules: Rules, **values: Any) -> Plan:  # noqa: ANN401 - fields of Plan
    """A plan for row *number*, as the planner would make it."""
    old, new = values.pop("old_key", f"up/{number}.png"), values.pop("new_key", f"clients/7/assets/{number}.png")
    return Plan(
        row_id=values.pop("row_id", f"[{number}]"),
        client=values.pop("client", "7"),
        old_key=old,
        new_key=new,
        old_hash=rules.hash_of(old),
        new_hash=rules.hash_of(new),
        **values,
    )


@dataclass
class World:
    """One assets table, its bucket, a run and the workers, all in this process and on one clock."""

    folder: Path
    behaviour: Behaviour = CONDITIONAL
    table: str = ASSETS
    settings: Mapping[str, Any] = field(default_factory=dict)
    clock: ManualClock = field(default_factory=ManualClock)
    url: str = ""  # of an empty database; an SQLite file otherwise

    def __post_init__(self) -> None:
        file = self.folder / "world.db"
        made = not self.url and self.table in _EMPTY
        if made:
            file.write_bytes(_EMPTY[self.table])
        self.engine = open_engine(self.url or f"sqlite:///{file}", may_create=True)
        self.database_clock = DatabaseClock(self.clock)
        if not self.url:
            share_statements(self.engine)
            self.database_clock.install(self.engine)
        if not made:
            self._make_tables()
            if not self.url:
                _EMPTY[self.table] = _content(file)
        self.store = InMemoryStore(self.behaviour, clock=self.clock)
        self.run_ledgers: list[RunLedger] = []
        self.context = self.worker()
        self.run_id = ""
        self._numbers: dict[str, int] = {}
        self.results: list[Result] = []
        self.messages: list[tuple[MoveStage | None, list[int]]] = []  # what the broker holds; None: the seed's

    def _make_tables(self) -> None:
        with transaction(self.engine) as connection:
            for statement in self.table.split(";"):
                connection.execute(text(statement))
        create_ledger(self.engine)

    def worker(self, **changes: Any) -> Context:  # noqa: ANN401 - fields of Context
        """Another worker's collaborators on the same table and bucket."""
        context = make_context(self.engine, self.store, make_settings(**self.settings), clock=self.clock)
        self.run_ledgers.append(context.runs)
        return dataclasses.replace(context, **changes)

    def want_mark(self) -> None:
        """Let the run have a mark of its whole journal, as the command does."""
        run = self.run
        with transaction(self.engine) as connection:
            settings = json.dumps({**run.settings, JOURNAL_MARK: ""})
            connection.execute(update(runs).where(runs.c.no == run.no).values(settings=settings))

    # The application

    def add(self, number: int, key: str | None = None, *, body: bytes | None = b"v1", client: object = 7, **columns: object) -> str:
        """Insert a row that names *key* (``up/<number>.png``), and upload its object unless *body* is None."""
        key = f"up/{number}.png" if key is None else key
        values = {"id": number, "client_id": client, "object_key": key, **columns}
        names = ", ".join(self.engine.dialect.identifier_preparer.quote(name) for name in values)
        self.sql(f"INSERT INTO assets ({names}) VALUES ({', '.join(f':{name}' for name in values)})", **values)
        if body is not None:
            self.store.app_put(key, body)
        return key

    def sql(self, statement: str, **values: object) -> Sequence[Any]:
        """Run one statement as the application does; gives its rows."""
        with transaction(self.engine) as connection:
            found = connection.execute(text(statement), values)
            return found.all() if found.returns_rows else ()

    def save_key(self, number: int, key: str) -> None:
        """Save another key into a row."""
        self.sql("UPDATE assets SET object_key = :key WHERE id = :id", key=key, id=number)

    def key(self, number: int) -> str:
        """The key that a row names."""
        return str(self.sql("SELECT object_key FROM assets WHERE id = :id", id=number)[0][0])

    def get(self, number: int) -> bytes:
        """What a reader of the row gets. Raises MissingObjectError."""
        return self.store.app_get(self.key(number))

    # The run

    @property
    def run(self) -> Run:
        """The run as it is now; made when it is first asked for."""
        if not self.run_id:
            self.run_id = make_run(self.context).id
        return self.context.runs.get(self.run_id)

    @property
    def run_no(self) -> int:
        """The run's number in the ledger, which never changes."""
        if self.run_id not in self._numbers:
            run = self.run
            self._numbers[run.id] = run.no
        return self._numbers[self.run_id]

    def seed(self) -> list[int]:
        """Seed to the end; the moves to copy."""
        ids: list[int] = []
        while True:
            seeded: Seeded = seed_moves(self.run, context=self.context)
            ids += [move_id for batch in seeded.batches for move_id in batch]
            if not seeded.more:
                return ids

    def do(self, stage: str, ids: Sequence[int] | None = None, *, worker: Context | None = None) -> Result:
        """Let a worker do one message of *stage*: *ids*, or all moves that are in the stage's state."""
        work = BY_NAME[stage]
        if ids is None:
            ids = [move.id for move in self.moves() if move.state is work.state]
        result = run_stage(stage, work.work, self.run, ids, context=worker or self.context)
        self.results.append(result)
        return result

    def moved(self, *, up_to: str = "rename") -> None:
        """Seed and drive all moves through the chain up to the stage *up_to*, without looks in between."""
        self.seed()
        for stage in MOVE_STAGES:
            self.do(stage.name)
            if stage.name == up_to:
                return

    def tick(self, *, host: str = HOST, worker: Context | None = None) -> Found:
        """One tick of the reconciler."""
        return reconcile(self.run, context=worker or self.context, host=host)

    def later(self, seconds: float) -> None:
        """Let time pass for everybody."""
        self.clock.advance(seconds)
        if self.url:  # a server's clock cannot be set: what it has noted becomes older instead
            with transaction(self.engine) as connection:
                for table, columns in ((moves, MOVE_TIMES), (runs, RUN_TIMES)):
                    older = {name: table.c[name] - int(seconds * MICROSECONDS) for name in columns}
                    connection.execute(update(table).values(older))
            for ledger in self.run_ledgers:
                for no, seen in ledger._seen.items():
                    ledger._seen[no] = dataclasses.replace(seen, now=seen.now - int(seconds * MICROSECONDS))

    def go(self, *, ticks: int = 200, seconds: float = 5.0, until: int | None = None) -> None:
        """Drive the run as tasks, workers and beat do, until it ends (or for *until* ticks); it must end within *ticks*."""
        messages = self.messages
        if not self.moves():
            messages.append((None, []))
        for _ in range(ticks if until is None else until):
            while messages:
                messages += self._handle(*messages.pop(0))
            found = self.tick()
            messages += found.messages
            for ids in found.visits:
                call_own_stage(self.run, ids, context=self.context)
            if found.seed:
                messages.append((None, []))
            run = self.run
            if not run.is_live or run.state is RunState.PAUSED:
                return
            self.later(seconds if messages or until is not None else max(seconds, self.seconds_to_next()))
        assert until is not None, f"the run does not end: {self.report()}, {self.moves()}"

    def seconds_to_next(self) -> float:
        """How long nothing is due."""
        with transaction(self.engine, read_only=True) as connection:
            due_at = connection.execute(
                select(func.min(moves.c.due_at)).where(moves.c.run_no == self.run_no, moves.c.stage.is_not(None))
            ).scalar_one()
        return 0.0 if due_at is None else (due_at - self.context.runs.now()) / MICROSECONDS + 0.01

    def _handle(self, stage: MoveStage | None, ids: list[int]) -> list[tuple[MoveStage | None, list[int]]]:
        if stage is None:
            seeded = seed_moves(self.run, context=self.context)
            sent: list[tuple[MoveStage | None, list[int]]] = [(BY_NAME[SEED.next or ""], batch) for batch in seeded.batches]
            return [*sent, (None, [])] if seeded.more else sent
        result = self.do(stage.name, ids)
        after = [(BY_NAME[stage.next], result.ready)] if result.ready and stage.next else []
        return [*after, (stage, result.again)] if result.again else list(after)

    def take_back(self, origin: str, *, rows: int = 0, **selection: Any) -> None:  # noqa: ANN401 - as the run's record has it
        """Start a rollback of the run *origin* as the command does, and let this world's workers serve it; *rows*: about how many."""
        context, run = self.context, self.context.runs.get(origin)
        back = context.runs.create(
            bucket=run.bucket,
            table_name=run.table_name,
            settings=run.settings,
            capabilities=dataclasses.asdict(self.store.capabilities),
            rows=rows,
            user="tester",
            version="0",
            kind=RunKind.ROLLBACK,
            origin_no=run.no,
            selection=selection,
        )
        settings = context.settings.model_copy(update={"where": selection.get("where"), "copy_mode": "auto"})
        rules = rules_of(settings, self.store.capabilities, kind=RunKind.ROLLBACK)
        self.context = dataclasses.replace(context, rules=rules, settings=settings)
        self.run_id = back.id

    def report(self) -> dict[str, Any]:
        """The report of the run."""
        return snapshot(self.run, runs=self.context.runs, queues=self.context.queues)

    # The ledger

    def moves(self) -> list[Move]:
        """All moves of the run, as the ledger has them."""
        with transaction(self.engine, read_only=True) as connection:
            rows = connection.execute(select(moves).where(moves.c.run_no == self.run_no).order_by(moves.c.id)).mappings()
            return [Move.from_row(dict(row)) for row in rows]

    def move(self, number: int) -> Move:
        """The move of row *number*."""
        return next(move for move in self.moves() if move.row_id == f"[{number}]")

    def states(self) -> dict[str, int]:
        """How many moves are in each state."""
        counted: dict[str, int] = {}
        for move in self.moves():
            counted[str(move.state)] = counted.get(str(move.state), 0) + 1
        return counted

    def column(self, number: int, name: str) -> Any:  # noqa: ANN401 - a value of any column
        """One column of a move's row in the ledger."""
        with transaction(self.engine, read_only=True) as connection:
            return connection.execute(
                select(moves.c[name]).where(moves.c.run_no == self.run_no, moves.c.row_id == f"[{number}]")
            ).scalar_one()

    def set_columns(self, number: int, **values: object) -> None:
        """Put values into a move's row, past all guards."""
        with transaction(self.engine) as connection:
            connection.execute(update(moves).where(moves.c.run_no == self.run_no, moves.c.row_id == f"[{number}]").values(values))

    def crash_in(self, stage: str, ids: Sequence[int] | None = None) -> Lease:
        """A worker claims moves for *stage* and dies: no outcome, and the lease stays."""
        if ids is None:
            ids = [move.id for move in self.moves() if move.state is BY_NAME[stage].state]
        lease, claimed = self.context.moves.claim(
            self.run,
            ids,
            stage=stage,
            lease_seconds=self.context.settings.lease_seconds,
            store_time=self.store.store_time(),
            clock=self.clock,
        )
        assert len(claimed) == len(ids)
        return lease

    def writes(self) -> list[tuple[str, str]]:
        """The requests so far that could change the bucket."""
        return [call for call in self.store.calls if call[0] in WRITES]

    def is_over(self) -> bool:
        """Whether no move is open."""
        return all(move.state not in OPEN_STATES for move in self.moves())

    def parked(self) -> dict[str, int]:
        """Parked moves by reason."""
        return {
            reason: sum(1 for move in self.moves() if move.state is MoveState.PARKED and move.reason == reason)
            for reason in {str(move.reason) for move in self.moves() if move.state is MoveState.PARKED}
        }


def damaged(body: bytes) -> bytes:
    """*body* as a network, or a memory, without a check of its own may hand it on."""
    return bytes([body[0] ^ 1]) + body[1:]


def damage_read(world: World, patch: pytest.MonkeyPatch, key: str) -> None:
    """Have the next read of *key* with its body give other bytes than the object's."""
    read, left = world.store.read, [key]

    def once(key: str, **more: Any) -> ReadObject:  # noqa: ANN401 - as the store's
        found = read(key, **more)
        if key not in left or not found.body:
            return found
        left.remove(key)
        return dataclasses.replace(found, body=damaged(found.body))

    patch.setattr(world.store, "read", once)
